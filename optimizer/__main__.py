"""`python -m optimizer` and the command `adose`."""

import io
import os
import sys
from contextlib import suppress

from optimizer.interrupt import INTERRUPTED, at_once
from optimizer.report.live import Live


def main() -> None:
    """Entry point."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # whatever a name is made of, and whatever the terminal has
    live = Live.begun(sys.argv[1:])
    try:
        with at_once():
            from optimizer.cli import app
        app(prog_name="adose")
    except SystemExit as end:
        if end.code == INTERRUPTED:
            # A program may still be compiled in another thread, which does not survive an orderly end of Python.
            live.end()
            with suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(INTERRUPTED)
        raise
    finally:
        live.end()


if __name__ == "__main__":
    main()
