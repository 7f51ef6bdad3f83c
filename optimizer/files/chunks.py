"""One loop over the chunks of a run: all of them here, a part of them for one of many machines, or as dask's tasks.

A chunk is some files that depend on the run's manifest and the chunk's number alone, so that whoever makes it, however
often, makes the same bytes. Schedulers, retries and workers are those of dask or of whoever starts the parts.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache, partial
from logging import CRITICAL
from typing import Any, Protocol

from optimizer.files.run import Run
from optimizer.files.run_directory import DirectoryError
from optimizer.settings import OptionError

# Workers that one task may lose before its run is given up (each may have been the machine's fault), and the faults of
# a task that are tried again.
_MOST_KILLED, _RETRIES = 100, 3


class Job(Protocol):
    """What is made in chunks."""

    run: Any  #: the directory; None keeps nothing
    rows: Any  #: which patients or points each chunk has
    files: Any  #: names of the files of each chunk
    at_once: int  #: how many chunks may be made side by side

    def make(self, number: int) -> Sequence[bytes]:
        """The bytes of the files of a chunk."""
        ...

    def tell(self, done: int) -> None:
        """Hear how many rows are done."""
        ...


def slices(total: int, size: int) -> list[range]:
    """Rows in chunks of one size, the last one shorter.

    >>> slices(5, 2)
    [range(0, 2), range(2, 4), range(4, 5)]
    """
    return [range(first, min(first + size, total)) for first in range(0, total, size)]


@dataclass(frozen=True)
class Workers:
    """Who makes the chunks."""

    part: tuple[int, int] | None = None  #: (i, n), to make the i-th of n parts alone, i from 1; None for all
    dask: bool = False  #: whether they are tasks of dask
    cluster: str | None = None  #: address of dask's scheduler; None starts workers on this machine
    prepare: Callable[[], None] = lambda: None  #: called on a worker before anything else

    @property
    def is_shared(self) -> bool:
        """Whether others may be at work in the directory of the run."""
        return self.part is not None


HERE = Workers()


def workers_of(part: str | None, engine: str, cluster: str | None, prepare: Callable[[], None]) -> Workers:
    """Who was asked for on the command line.

    Raises:
        OptionError: a part that is none, or options that do not go together.

    >>> workers_of("3/8", "threads", None, lambda: None).part
    (3, 8)
    """
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", "1/1" if part is None else part, re.ASCII)
    one = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= one[0] <= one[1]:
        raise OptionError(f'--part: wanted I/N with I from 1 to N, such as 3/8; got "{part}"')
    if part is not None and engine == "dask":
        raise OptionError("--part: wanted without --engine dask, which shares the chunks out itself; got both")
    if cluster is not None and engine != "dask":
        raise OptionError(f'--cluster: wanted with --engine dask; got "{cluster}" without it')
    return Workers(one if part is not None else None, engine == "dask", cluster, prepare)


def made(job: Job, workers: Workers, again: Callable[[], Job]) -> Iterator[tuple[int, list[bytes]]]:
    """Number and bytes of each chunk in order, read where it was made before; of a part only its own.

    `again` is the same job as another process opens it, with a shared directory; it can be pickled.

    Raises:
        DirectoryError: a chunk of another hand, or workers that do not see this directory.
        OptionError: dask is not there, or cannot be reached.
    """
    first, step = workers.part or (1, 1)
    numbers = range(first - 1, len(job.files), step)
    missing = [n for n in numbers if job.run is None or not job.run.has(job.files[n])]
    if workers.dask and job.run is not None:
        _on_dask(job, job.run, workers, again, missing)
        missing = []
    pool = ThreadPoolExecutor(max(1, job.at_once))
    try:
        ahead = {n: pool.submit(job.make, n) for n in missing} if job.at_once > 1 else {}
        for n in numbers:
            make = ahead.pop(n).result if n in ahead else partial(job.make, n)
            data = list(make()) if job.run is None else job.run.parts(job.files[n], make)
            job.tell(job.rows[n].stop)
            yield n, data
    finally:
        pool.shutdown(cancel_futures=True)


# --- dask -------------------------------------------------------------------------------------------------------------


def _on_dask(job: Job, run: Run, workers: Workers, again: Callable[[], Job], missing: list[int]) -> None:
    """Have chunks made by workers that write into the same directory; theirs are taken over at the end."""
    try:
        import cloudpickle
        from dask import config
        from distributed import Client, LocalCluster, as_completed
    except ImportError:
        raise OptionError('--engine: wanted dask; got no such package: pip install "adose[cluster]"') from None
    try:
        opened = cloudpickle.dumps(again)
    except Exception as error:  # whatever a part of one's own is made of
        raise OptionError(f"--engine: wanted a scenario that can be sent to workers; got: {error}") from None
    with ExitStack() as stack:
        stack.enter_context(config.set({"distributed.scheduler.allowed-failures": _MOST_KILLED}))
        address: Any = workers.cluster
        if address is None:
            count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
            address = stack.enter_context(
                LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=":0", silence_logs=CRITICAL)
            )
            # A worker that is killed while it starts is replaced, too.
            address.adapt(minimum=count, maximum=count)
        try:
            client = stack.enter_context(Client(address))
        except (OSError, ValueError, TypeError) as error:
            raise OptionError(f'--cluster: wanted the address of a scheduler; got "{address}": {error}') from None
        opening = workers.prepare, opened, os.getcwd(), workers.cluster is None
        tasks = {client.submit(_task, opening, n, pure=False, retries=_RETRIES): n for n in missing}
        done = job.rows[-1].stop - sum(len(job.rows[n]) for n in missing)
        for task in as_completed(tasks):
            task.result()
            if not run.has(job.files[tasks[task]]):
                wanted = "the files that a worker wrote: all need the same folder at the same path"
                raise DirectoryError(f"{run.out}: wanted {wanted}; got no {job.files[tasks[task]][-1]}")
            done += len(job.rows[tasks[task]])
            job.tell(done)
    run.gather()


def _task(opening: tuple[Callable[[], None], bytes, str, bool], number: int) -> None:
    job = _opened(*opening)
    assert job.run is not None
    job.run.parts(job.files[number], partial(job.make, number))


@lru_cache(maxsize=1)
def _opened(prepare: Callable[[], None], opened: bytes, folder: str, is_local: bool) -> Job:
    """The job as this worker has it, opened once; a worker of this machine takes a core of its own."""
    import cloudpickle
    from distributed import get_worker

    if is_local and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(get_worker().name) % len(cores)]})
    os.chdir(folder)
    prepare()
    return cloudpickle.loads(opened)()
