"""`python -m optimizer` and the command `adose`."""

from optimizer.cli import app


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
