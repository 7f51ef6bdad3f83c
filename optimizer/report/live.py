"""What is being done, on stderr: a line that never stands still on a terminal, lines at a pace elsewhere.

It begins before anything heavy is imported, and imports nothing heavy itself. The line is drawn by a process of its own
where there can be one: this one may hold Python's lock for seconds, as while a program is read from the cache.
"""

import os
import select
import signal
import sys
import threading
import time
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, TextIO

# Commands that answer at once, or serve: on a pipe they say nothing of what they do.
_AT_ONCE = frozenset({"new", "check", "import", "export", "list", "schema", "page"})
_TURNS, _BAR = "|/-\\", 20
# Seconds: between two drawings, before the first line of a pipe, between lines of a pipe when nothing changes, of
# compiling before it is said that programs are kept, and without drawing after Ctrl-C, which may have been answered.
_TICK, _FIRST, _SILENCES, _LONG, _PRESSED = 0.2, 0.5, (10.0, 20.0, 30.0, 60.0), 2.0, 0.5
_KEPT = "Programs of a new model are compiled first, and kept for the next run."
_CLEAR = "\r\x1b[2K"
CURRENT: "ContextVar[Live | None]" = ContextVar("live", default=None)
"""What speaks for the command that is run."""


class Live:
    """What a command says of itself while it runs.

    Attributes:
        is_quiet: whether it says nothing.
        is_verbose: whether each change is a line with its time, on a terminal too.
        compiling: how many programs are being compiled now.
    """

    def __init__(self, words: list[str], stream: TextIO):
        self._out, self._known = stream, (sys.stdout, sys.stderr)
        self.is_quiet, self.is_verbose, self.compiling = "--quiet" in words, "--verbose" in words, 0
        self._command = " ".join(["adose", *[word for word in words if not word.startswith("-")][:1]])
        self._is_line = stream.isatty() and os.environ.get("TERM") != "dumb" and not self.is_verbose
        self._began = self._changed = self._spoken = self._compiled = time.monotonic()
        self._stage, self._count, self._share, self._seen = "start", "", None, set[tuple[str, int]]()
        self._lock, self._ended, self._turn, self._silence = threading.RLock(), threading.Event(), 0, 0
        self._drawn, self._held, self._is_said, self._pressed = False, False, False, -_PRESSED
        # Ends of pipes: to who draws, and what comes back; its process.
        self._there, self._back, self._child = -1, -1, 0

    @classmethod
    def begun(cls, words: list[str]) -> "Live":
        """One that speaks from now on, where there is something to say."""
        live = cls(words, sys.stderr)
        CURRENT.set(live)
        word = next((word for word in words if not word.startswith("-")), "")
        asked = {"-h", "--help", "-V", "--version"} & set(words)
        if word == "page" or not word or asked or live.is_quiet or (word in _AT_ONCE and not sys.stderr.isatty()):
            return live
        if live._is_line:
            # Whatever else is written there goes above the line.
            sys.stderr = _Above(sys.stderr, live)
            sys.stdout = _Above(sys.stdout, live) if sys.stdout.isatty() else sys.stdout
        if not (live._is_line and live._forked()):
            threading.Thread(target=live._tick, daemon=True, name="live").start()
        return live

    def end(self) -> None:
        """Say nothing more."""
        self._ended.set()
        self.hold()
        if self._child:
            os.close(self._there)
            os.close(self._back)
            with suppress(ChildProcessError):
                os.waitpid(self._child, 0)
            self._child = 0
        CURRENT.set(None)
        sys.stdout, sys.stderr = self._known

    def tell(self, stage: str, count: str = "", share: float | None = None) -> None:
        """What is being done, how far it is in words, and as a share of it all."""
        with self._lock:
            if stage != self._stage:
                self._changed = time.monotonic()
            self._stage, self._count, self._share = stage, count, share
            self._send("tell", stage, count, "" if share is None else repr(share))
            # A line a stage, and one a quarter of what is counted.
            mark = stage, int(4.0 * (share or 0.0))
            if (mark not in self._seen or self.is_verbose) and not self._is_line and not self.is_quiet:
                self._seen.add(mark)
                self._silence = 0
                self._say(self._words())

    def note_compiling(self, event: str, **_: Any) -> None:
        """A listener of `jax.monitoring`: programs asked for, and those that came from the cache or were built."""
        change = {"compile_requests_use_cache": 1, "cache_hits": -1, "cache_misses": -1}.get(
            event.rpartition("/")[2], 0
        )
        with self._lock:
            if change > 0 and self.compiling == 0:
                self._compiled = time.monotonic()
            self.compiling = max(0, self.compiling + change)
            if change:
                self._send("compile", str(change))

    def hold(self) -> None:
        """Take the line away, for something else in its place, and draw none until `go`."""
        with self._lock:
            self._held = True
            if self._child:
                self._send("hold")
                os.read(self._back, 1)  # it is done, or nobody draws any more
            elif self._drawn:
                self._put(_CLEAR)
            self._drawn = False

    def go(self) -> None:
        """Draw again."""
        self._held = False
        self._send("go")

    # --- the process that draws ---------------------------------------------------------------------------------------

    def _forked(self) -> bool:
        """Begin a process that draws; whether there is one. Nothing heavy is loaded yet, and no thread runs."""
        try:
            self._out.fileno()
            (heard, there), (back, done) = os.pipe(), os.pipe()
            self._child = os.fork()
        except (AttributeError, OSError, ValueError):  # no such call, or a terminal that is none
            return False
        if self._child:
            os.close(heard)
            os.close(done)
            self._there, self._back = there, back
            return True
        os.close(there)
        os.close(back)
        self._there, self._back = done, heard
        signal.signal(signal.SIGINT, lambda *_: setattr(self, "_pressed", time.monotonic()))
        try:
            self._tick()
        finally:
            os._exit(0)

    def _send(self, *words: str) -> None:
        if self._child:
            with suppress(OSError):  # nobody draws any more
                os.write(self._there, ("\t".join(words) + "\n").encode("utf-8", "replace"))

    def _wait(self, seconds: float) -> bool:
        """Whether it ended in that time; the process that draws listens meanwhile."""
        if self._child or self._back < 0:
            return self._ended.wait(seconds)
        until, rest = time.monotonic() + seconds, b""
        while rest or (left := until - time.monotonic()) > 0.0:
            if rest or select.select([self._back], [], [], left)[0]:
                data = os.read(self._back, 65536)
                if not data or self._ended.is_set():
                    return True
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._hear(*line.decode("utf-8", "replace").split("\t"))
        return False

    def _hear(self, word: str, *rest: str) -> None:
        if word == "tell":
            self.tell(rest[0], rest[1], float(rest[2]) if rest[2] else None)
        elif word == "compile":
            self.note_compiling("compile_requests_use_cache" if rest[0] == "1" else "cache_hits")
        elif word == "hold":
            self.hold()
            os.write(self._there, b".")
        else:
            self.go()

    def _words(self) -> str:
        now = time.monotonic()
        programs = f"compiling {self.compiling} program{'s' * (self.compiling > 1)}" if self.compiling else ""
        said = ", ".join(part for part in (self._count, programs) if part)
        words = f"{self._stage}{': ' if said else ''}{said}"
        return f"[{_minutes(now - self._began)}] {words}" if self.is_verbose else words

    def _tick(self) -> None:
        if not self._is_line and self._wait(_FIRST):
            return
        if not self._is_line and self._stage == "start":
            self._say(f"{self._command}: start")
        while True:
            with self._lock:
                now = time.monotonic()
                if self.compiling and now - self._compiled > _LONG and not self._is_said and not self._held:
                    self._is_said = True
                    self._say(_KEPT)
                if self._is_line:
                    self._draw(now)
                elif now - self._spoken > _SILENCES[self._silence]:
                    self._silence = min(self._silence + 1, len(_SILENCES) - 1)
                    self._say(f"{self._words()} (for {_minutes(now - self._changed)})")
            if self._wait(_TICK):
                return

    def _draw(self, now: float) -> None:
        if self._held or self._ended.is_set() or now - self._pressed < _PRESSED:
            return
        self._turn = (self._turn + 1) % len(_TURNS)
        full = None if self._share is None else round(_BAR * min(self._share, 1.0))
        bar = "" if full is None else f" [{'#' * full}{'-' * (_BAR - full)}]"
        times = f"{_minutes(now - self._changed)} of {_minutes(now - self._began)}"
        text = f"{_TURNS[self._turn]} {times}  {self._command}{bar} {self._words()}"
        try:
            width = os.get_terminal_size(self._out.fileno()).columns
        except (OSError, ValueError):
            width = 80
        self._drawn = True
        self._put(_CLEAR + text[: max(width - 1, 10)])

    def _say(self, text: str) -> None:
        self._spoken = time.monotonic()
        self._put(f"{_CLEAR * self._drawn}{text}\n")
        self._drawn = False

    def _put(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except (OSError, ValueError):
            self._ended.set()  # nobody reads it any more


class _Above:
    """A stream of the terminal on which the line is taken away before something is written."""

    def __init__(self, stream: TextIO, live: Live):
        self._stream, self._live = stream, live

    def write(self, text: str) -> int:
        with self._live._lock:
            if text:
                self._live.hold()
            count = self._stream.write(text)
            if text.endswith("\n"):
                self._stream.flush()
                self._live.go()
            return count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _minutes(seconds: float) -> str:
    """As a clock shows it."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"
