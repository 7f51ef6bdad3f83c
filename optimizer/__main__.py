"""`python -m optimizer` and the command `adose`."""

import atexit
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
        live.end()
        _leave(end.code or 0)
        raise
    finally:
        live.end()


def _leave(code: str | int) -> None:
    """End the process now: Python would take compiled programs apart for seconds, to no use.

    Where something cannot be written any more, Python ends as it does.
    """
    if code == INTERRUPTED:
        # A program may still be compiled in another thread, which does not survive an orderly end of Python.
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(INTERRUPTED)
    if isinstance(code, int):
        with suppress(OSError):
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


if __name__ == "__main__":
    main()
