"""One loop over chunks: parts in any order, workers that are killed, and the same bytes as in one process."""

import os
import random
import shutil
import signal
import sys
import threading
import time
import warnings
from functools import partial

import numpy as np
import pytest

from optimizer.files.chunks import AbstractJob, Workers, collected, made, slices, workers_of
from optimizer.files.run import Run, table_bytes
from optimizer.files.run_directory import DirectoryError
from optimizer.settings import OptionError

CHUNKS = 11


class Squares(AbstractJob):
    """Squares of numbers, three to a chunk, in two files each."""

    def __init__(self, out, seconds=0.0, chunks=CHUNKS, at_once=1, is_shared=False):
        self.run, self.seconds, self.at_once = Run(out, {"chunks": chunks}, is_shared), seconds, at_once
        super().__init__(slices(3 * chunks - 1, 3), ("a", "b"))
        self.made = []

    def make(self, number):
        self.made.append(number)
        time.sleep(self.seconds)
        x = np.array(self.rows[number])
        return [table_bytes({"x": x, "y": x**power}) for power in (2, 3)]

    def keys(self, number):
        return [{"x": self.rows[number]}] * 2

    def tell(self, done):
        assert 0 < done <= self.rows[-1].stop


def everything(out):
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def worked(out, workers=Workers(), **how):
    again = partial(Squares, out, is_shared=True, **how)
    job = Squares(out, is_shared=workers.is_shared, **how)
    return job, list(made(job, workers, again))


@pytest.fixture
def alone(tmp_path):
    """All bytes of a run in one process."""
    worked(tmp_path / "alone")
    return everything(tmp_path / "alone")


def test_tables_of_a_kind_are_one_below_the_other(tmp_path):
    job = Squares(tmp_path / "run")
    squares, cubes = collected(job, Workers(), partial(Squares, tmp_path / "run", is_shared=True))
    numbers = np.arange(job.rows[-1].stop)
    for table, power in ((squares, 2), (cubes, 3)):
        np.testing.assert_array_equal(table["x"], numbers)
        np.testing.assert_array_equal(table["y"], numbers**power)
    part = Squares(tmp_path / "part", is_shared=True)
    assert collected(part, Workers(part=(1, 2)), partial(Squares, tmp_path / "part", is_shared=True)) is None
    assert part.made == [*range(0, CHUNKS, 2)]


def test_a_table_of_other_rows_is_refused_by_name(tmp_path):
    job = Squares(tmp_path / "run")
    job.keys = lambda number: [{"x": job.rows[number]}, {"x": job.rows[0]}]
    with pytest.raises(DirectoryError, match=r"b/000000003\.parquet: x: wanted 3 rows, \"\[0, 2\]\"; got 3 rows"):
        collected(job, Workers(), partial(Squares, tmp_path / "run", is_shared=True))


@pytest.mark.parametrize("parts", [1, 2, 4, 13])
def test_parts_in_any_order_and_twice_are_the_same_bytes(tmp_path, alone, parts):
    out, order = tmp_path / "run", [*range(1, parts + 1)] * 2
    random.Random(parts).shuffle(order)
    counts = [len(worked(out, Workers(part=(i, parts)))[0].made) for i in order]
    assert sum(counts) == CHUNKS
    assert everything(out).keys() != alone.keys(), "a part puts nothing together"
    job, found = worked(out)
    assert not job.made
    assert [number for number, _ in found] == [*range(CHUNKS)]
    assert everything(out) == alone
    # On a directory that is whole a part does nothing.
    assert not worked(out, Workers(part=(1, parts)))[0].made
    assert everything(out) == alone


def test_parts_at_the_same_time_share_a_directory(tmp_path, alone):
    out = tmp_path / "run"
    work = [Workers(part=(1 + i % 3, 3)) for i in range(6)]
    threads = [threading.Thread(target=worked, args=(out, one), kwargs={"seconds": 0.01}) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not worked(out)[0].made
    assert everything(out) == alone


def test_what_is_missing_after_the_parts_is_made_at_the_end(tmp_path, alone):
    out = tmp_path / "run"
    worked(out, Workers(part=(2, 3)))
    # What kills leave: half a mark and half a chunk, and a mark whose file did not come.
    (out / "digests" / "a" / ".000000000.parquet.x.part").write_bytes(b"")
    (out / "a" / ".000000000.parquet.x.part").write_bytes(b"half")
    (out / "a" / "000000003.parquet").unlink()
    assert worked(out)[0].made == [0, 1, 2, 3, 5, 6, 8, 9]
    assert {k: v for k, v in everything(out).items() if "digests" not in k} == alone
    assert worked(out)[0].made == []
    assert everything(out) == alone


def test_the_first_of_two_who_make_a_file_is_believed(tmp_path):
    """Machines of different make may differ in a last bit: whoever comes second goes on with what is there."""
    run = [Run(tmp_path / "run", {}, is_shared=True) for _ in range(2)]

    def late():
        assert run[1].parts(["one"], lambda: [b"first"]) == [b"first"]
        return [b"second"]

    assert run[0].parts(["one"], late) == [b"first"]
    assert Run(tmp_path / "run", {}).parts(["one"], lambda: [b"third"]) == [b"first"]
    assert not (tmp_path / "run" / "digests").exists()


def test_a_chunk_of_a_part_that_was_changed_is_refused(tmp_path):
    out = tmp_path / "run"
    worked(out, Workers(part=(1, 2)))
    (out / "a" / "000000000.parquet").write_bytes(b"other")
    for workers in (Workers(part=(1, 2)), Workers()):
        with pytest.raises(DirectoryError, match=r"wanted the digest in manifest\.json; got none is written down"):
            worked(out, workers)


def test_a_part_of_another_run_is_refused(tmp_path):
    worked(tmp_path, Workers(part=(1, 2)))
    with pytest.raises(DirectoryError, match="wanted chunks = 11, as in the run that is there; got 12"):
        worked(tmp_path, Workers(part=(2, 2)), chunks=12)


def test_side_by_side_is_the_same(tmp_path, alone):
    worked(tmp_path / "run", at_once=4)
    assert everything(tmp_path / "run") == alone


@pytest.mark.parametrize("part", ["3/2", "0/4", "x", "1/0", "1", "1/2/3", "-1/2", "1.5/2", ""])
def test_what_is_no_part_is_refused(part):
    with pytest.raises(OptionError) as refused:
        workers_of(part, "threads", None, print)
    assert str(refused.value) == f'--part: wanted I/N with I from 1 to N, such as 3/8; got "{part}"'


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("1/2", "dask", None), "--part: wanted without --engine dask"),
        ((None, "threads", "tcp://there:1"), "--cluster: wanted with --engine dask; got"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, said):
    with pytest.raises(OptionError, match=said):
        workers_of(*options, print)


def test_without_dask_the_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(OptionError, match=r'got no such package: pip install "adose\[cluster\]"'):
        worked(tmp_path / "run", Workers(dask=True))


# --- a cluster --------------------------------------------------------------------------------------------------------


def killed_cluster(out, kills, seconds, chunks):
    """A run on four workers, one of which is killed every now and then; how many kills met it."""
    distributed, config = pytest.importorskip("distributed"), pytest.importorskip("dask").config
    chance, met, ended = random.Random(kills), [], threading.Event()
    how = {"n_workers": 4, "threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": 50}
    with (
        config.set({"distributed.scheduler.allowed-failures": 1000}),
        distributed.LocalCluster(**how) as cluster,
        distributed.Client(cluster) as client,
    ):
        # A worker that is killed while it starts is not started again by itself.
        cluster.adapt(minimum=4, maximum=4)

        def kill():
            while len(met) < kills and not ended.wait(0.3):
                pids = [nanny.pid for nanny in cluster.workers.values() if nanny.pid]
                if pids and len(list(out.glob("b/*"))) > len(met) * chunks // (2 * kills):
                    os.kill(chance.choice(pids), signal.SIGKILL)
                    met.append(1)

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            found = worked(out, Workers(dask=True, cluster=client.scheduler.address), seconds=seconds, chunks=chunks)
        finally:
            ended.set()
            killer.join()
    assert not found[0].made, "all chunks are the workers'"
    return len(met)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("kills", "chunks"), [(4, 24), pytest.param(50, 400, marks=pytest.mark.slow, id="fifty kills")]
)
def test_workers_that_are_killed_leave_the_same_bytes(tmp_path, kills, chunks):
    worked(tmp_path / "alone", chunks=chunks)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what dask says of the workers that it lost
        assert killed_cluster(tmp_path / "run", kills, 0.15, chunks) == kills
    assert everything(tmp_path / "run") == everything(tmp_path / "alone")


def test_workers_of_this_machine_make_the_same_bytes(tmp_path, alone):
    pytest.importorskip("distributed")
    found = worked(tmp_path / "run", Workers(dask=True))
    assert not found[0].made, "all chunks are the workers'"
    assert everything(tmp_path / "run") == alone


def test_a_cluster_that_is_not_there_is_a_sentence(tmp_path):
    pytest.importorskip("distributed")
    with pytest.raises(OptionError, match='--cluster: wanted the address of a scheduler; got "nonsense://x:1"'):
        worked(tmp_path / "run", Workers(dask=True, cluster="nonsense://x:1"))
    shutil.rmtree(tmp_path / "run")
