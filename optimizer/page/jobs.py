"""Searches of a page: the ordinary commands in child processes, one after the other."""

import asyncio
import shlex
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

WAITING, RUNNING, DONE, FAILED, CANCELLED = "waiting", "running", "done", "failed", "cancelled"
_MOST_LINES = 400


@dataclass(eq=False)
class Job:
    """One command."""

    words: tuple[str, ...]  #: of the command line behind `adose`
    place: Path  #: run directory that it writes
    state: str = WAITING  #: waiting, running, done, failed or cancelled
    lines: list[str] = field(default_factory=list)  #: what it said on stderr and stdout, the last ones
    code: int | None = None  #: exit code, once it has ended
    process: asyncio.subprocess.Process | None = None

    @property
    def command(self) -> str:
        """What a person types for the same."""
        return shlex.join(["adose", *self.words])

    @property
    def ended(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state in (DONE, FAILED, CANCELLED)

    def cancel(self) -> None:
        """Stop it now; what a run keeps from chunk to chunk is kept."""
        if not self.ended:
            self.state = CANCELLED
        if self.process is not None and self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.kill()

    async def run(self) -> None:
        """Run it to its end; exit codes are those of the command line."""
        self.state, pipe = RUNNING, asyncio.subprocess.PIPE
        words = (sys.executable, "-m", "optimizer", *self.words)
        self.process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=asyncio.subprocess.STDOUT, limit=2**20
        )
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(line.decode("utf-8", "replace").rstrip())
            del self.lines[:-_MOST_LINES]
        self.code = await self.process.wait()
        if self.code < 0 and self.state == RUNNING:
            self.lines.append(f"The process was ended from outside (signal {-self.code}).")
        if self.state == RUNNING:
            self.state = DONE if self.code == 0 else FAILED


class Queue:
    """Jobs in their order; one runs at a time, as each uses every core."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self._worker: asyncio.Task | None = None

    def add(self, job: Job) -> Job:
        """Put a job behind the others and see that somebody works."""
        self.jobs.append(job)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.get_running_loop().create_task(self._work())
        return job

    async def _work(self) -> None:
        while (job := next((job for job in self.jobs if job.state == WAITING), None)) is not None:
            try:
                await job.run()
            except OSError as error:
                job.state = FAILED
                job.lines.append(f"The command could not be started: {error.strerror}")

    def close(self) -> None:
        """Stop all of them."""
        for job in self.jobs:
            job.cancel()
