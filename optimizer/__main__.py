"""`python -m optimizer` and the command `adose`."""

from optimizer._interrupt import at_once


def main() -> None:
    """Entry point."""
    with at_once():
        from optimizer.cli import app
    app(prog_name="adose")


if __name__ == "__main__":
    main()
