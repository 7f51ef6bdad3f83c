"""Ctrl-C while there is nothing to keep yet."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130
NOTHING_WRITTEN = "Interrupted: nothing was written."


@contextmanager
def at_once() -> Iterator[None]:
    """Ctrl-C ends the process here and now: some libraries swallow the exception while they are imported."""
    wanted = threading.current_thread() is threading.main_thread()
    if not wanted or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def leave(*_: object) -> None:
        os.write(2, f"{NOTHING_WRITTEN}\n".encode())
        os._exit(INTERRUPTED)

    signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
