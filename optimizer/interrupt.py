"""Ctrl-C while there is nothing to keep yet, and Ctrl-C that is not to be lost."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

INTERRUPTED = 130
NOTHING_WRITTEN = "Interrupted: nothing was written."


@contextmanager
def at_once() -> Iterator[None]:
    """Ctrl-C ends the process here and now: some libraries swallow the exception while they are imported."""
    if not _ours():
        yield
        return

    def leave(*_: object) -> None:
        os.write(2, b"\r\x1b[2K" * os.isatty(2) + f"{NOTHING_WRITTEN}\n".encode())
        os._exit(INTERRUPTED)

    signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def remembered() -> Iterator[Callable[[], bool]]:
    """Ctrl-C raises as always and is remembered: in a callback of the garbage collector the exception gets lost.

    Yields:
        whether it was pressed, for the next place at which it can be raised again.
    """
    pressed: list[int] = []
    if not _ours():
        yield lambda: False
        return

    def press(number: int, _: object) -> None:
        pressed.append(number)
        raise KeyboardInterrupt

    tell_lost = sys.unraisablehook

    def lost(what: Any) -> None:
        if not issubclass(what.exc_type, KeyboardInterrupt):
            tell_lost(what)

    signal.signal(signal.SIGINT, press)
    sys.unraisablehook = lost
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.unraisablehook = tell_lost


def _ours() -> bool:
    """Whether Ctrl-C comes here, and nobody else has laid a hand on it."""
    main = threading.current_thread() is threading.main_thread()
    return main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
