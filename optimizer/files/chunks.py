"""One loop over the chunks of a run: all of them here, a part of them for one of many machines, or as dask's tasks.

A chunk is some files that depend on the run's manifest and the chunk's number alone, so that whoever makes it, however
often, makes the same bytes. Schedulers, retries and workers are those of dask or of whoever starts the parts.
"""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache, partial
from logging import CRITICAL
from pathlib import Path
from typing import Any

from optimizer.files.run import Columns, Run, columns_of, joined
from optimizer.files.run_directory import DirectoryError
from optimizer.settings import OptionError

# Workers that one task may lose before its run is given up (each may have been the machine's fault), and the faults of
# a task that are tried again.
_MOST_KILLED, _RETRIES = 100, 3


class AbstractJob(ABC):
    """What is made in chunks; it is opened in each process that makes some of them.

    A job takes, behind what it is of, the directory `out` of its run, the `versions` of the packages that its numbers
    depend on (a run is not continued with others), what hears how it goes, and `is_shared`: whether others may be at
    work in the directory at the same time. It refuses (DirectoryError) a directory that holds something else, or a run
    of which a field differs.
    """

    at_once = 1  #: how many chunks may be made side by side
    run: Run | None  #: the directory; None keeps nothing

    def __init__(self, rows: Sequence[range], kinds: Sequence[str] = ("chunks",)):
        self.rows = rows  #: which patients or points each chunk has
        self.files = [[f"{kind}/{own.start:09d}.parquet" for kind in kinds] for own in rows]  #: tables of each chunk

    @abstractmethod
    def make(self, number: int) -> Sequence[bytes]:
        """The tables of a chunk."""

    @abstractmethod
    def keys(self, number: int) -> Sequence[Mapping[str, Sequence[Any]]]:
        """Of each table of a chunk, columns whose values are known: whose rows these are."""

    @abstractmethod
    def tell(self, done: int) -> None:
        """Say how many rows are done."""


Again = Callable[[], AbstractJob]


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


def made(job: AbstractJob, workers: Workers, again: Again) -> Iterator[tuple[int, list[bytes]]]:
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


def collected(job: AbstractJob, workers: Workers, again: Again) -> list[Columns] | None:
    """The tables of all chunks, those of a kind one below the other; of a part nothing comes back. Raises as `made`."""
    folder, tables = Path() if job.run is None else job.run.out, [dict[Path, Columns]() for _ in job.files[0]]
    for number, kept in made(job, workers, again):
        for table, name, data, keys in zip(tables, job.files[number], kept, job.keys(number), strict=True):
            table[folder / name] = columns_of(data, folder / name, keys)
    return None if workers.is_shared else [joined(table) for table in tables]


# --- dask -------------------------------------------------------------------------------------------------------------


def _on_dask(job: AbstractJob, run: Run, workers: Workers, again: Again, missing: list[int]) -> None:
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
def _opened(prepare: Callable[[], None], opened: bytes, folder: str, is_local: bool) -> AbstractJob:
    """The job as this worker has it, opened once; a worker of this machine takes a core of its own."""
    import cloudpickle
    from distributed import get_worker

    if is_local and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(get_worker().name) % len(cores)]})
    os.chdir(folder)
    prepare()
    return cloudpickle.loads(opened)()
