"""Files that a scenario names: regular, of a stated size, and without doors to other files."""

import os
import socket

import h5py
import numpy as np
import pytest
import xarray as xr

from optimizer.files import netcdf
from optimizer.files.faults import DataError
from optimizer.files.netcdf import read_netcdf
from optimizer.files.run_directory import read_regular

DRAWS = np.arange(8.0).reshape(2, 4)


@pytest.fixture
def good(tmp_path):
    """A posterior of one number and one for each of two named patients."""
    path = tmp_path / "good.nc"
    of_each = xr.Variable(("chain", "draw", "patient"), np.ones((2, 4, 2)))
    variables = {"ec50_max": xr.Variable(("chain", "draw"), DRAWS, {"units": "ug/mL"}), "of_each": of_each}
    group = xr.Dataset(variables, {"chain": [0, 1], "draw": np.arange(4), "patient": ["ann", "bob"]})
    xr.DataTree.from_dict({"posterior": group}).to_netcdf(path, engine="h5netcdf")
    return path


def test_draws_are_read_with_their_units(good):
    found = read_netcdf(good, "posterior")
    assert set(found) == {"ec50_max", "of_each"}
    assert np.array_equal(found["ec50_max"].values, DRAWS)
    assert (found["ec50_max"].dims, found["ec50_max"].unit) == (("chain", "draw"), "ug/mL")
    assert found["of_each"].dims == ("chain", "draw", "patient")


def external(group, folder):
    (folder / "secret.bin").write_bytes(b"12345678" * 8)
    del group["ec50_max"]
    group.create_dataset("ec50_max", (2, 4), float, external=[(str(folder / "secret.bin"), 0, 64)])


def virtual(group, folder):
    layout = h5py.VirtualLayout((2, 4), float)
    layout[:] = h5py.VirtualSource(str(folder / "good.nc"), "posterior/ec50_max", (2, 4))
    group.create_virtual_dataset("hill", layout)


def linked(group, folder):
    group["hill"] = h5py.ExternalLink(str(folder / "good.nc"), "posterior/ec50_max")


def soft(group, folder):
    group["hill"] = h5py.SoftLink("/posterior/ec50_max")


def complex_numbers(group, folder):
    group["hill"] = DRAWS + 1j


def text(group, folder):
    group["hill"] = [["a", "b"], ["c", "d"]]


def bomb(group, folder):
    group.create_dataset("hill", (2**20, 2**10), float, chunks=(2**10, 2**10), compression="gzip")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (external, "posterior/ec50_max: wanted numbers in this file; got some that lie in others"),
        (virtual, "posterior/hill: wanted numbers in this file"),
        (linked, "posterior/hill: wanted a variable; got a link"),
        (soft, "posterior/hill: wanted a variable; got a link"),
        (complex_numbers, "posterior/hill: wanted real numbers; got complex128"),
        (text, "posterior/hill: wanted real numbers"),
        (bomb, "bytes when unpacked; got more"),
    ],
)
def test_doors_to_other_files_and_what_is_no_number_are_refused(good, tmp_path, change, why):
    (tmp_path / "other.nc").write_bytes(good.read_bytes())
    with h5py.File(tmp_path / "other.nc", "a") as file:
        change(file["posterior"], tmp_path)
    with pytest.raises(DataError, match=why):
        read_netcdf(tmp_path / "other.nc", "posterior")


def test_a_group_that_lies_elsewhere_is_refused(good, tmp_path):
    with h5py.File(tmp_path / "other.nc", "w") as file:
        file["posterior"] = h5py.ExternalLink(str(good), "posterior")
    with pytest.raises(DataError, match="wanted NetCDF with a group posterior; got none"):
        read_netcdf(tmp_path / "other.nc", "posterior")


@pytest.mark.parametrize("count", [6, pytest.param(200, marks=pytest.mark.slow)])
def test_damage_is_one_sentence_and_no_hang(good, tmp_path, count):
    whole, other = good.read_bytes(), tmp_path / "other.nc"
    # The first makes the library loop for ever: the size of an object in the heap of texts is 0.
    heap = whole.index(b"GCOL")
    loops = whole[: heap + 16] + bytes(len(whole) - heap - 16)
    flipped = [
        whole[:i] + bytes([whole[i] ^ 0xFF]) + whole[i + 1 :] for i in np.linspace(0, len(whole) - 1, count).astype(int)
    ]
    for damage in (loops, whole[: len(whole) // 2], *flipped):
        other.write_bytes(damage)
        try:
            read_netcdf(other, "posterior")
        except DataError as error:
            assert "\n" not in str(error)  # noqa: PT017 (damage may lie where nobody reads)


@pytest.mark.skipif(os.name == "nt", reason="files of POSIX")
def test_pipes_devices_sockets_and_folders_are_refused_at_once(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # a socket's name is short
    with socket.socket(socket.AF_UNIX) as own:
        own.bind("socket")
        for name in ("pipe", "socket", "/dev/zero", "/dev/null", "."):
            with pytest.raises(DataError, match="wanted"):
                read_regular(tmp_path / name, 100)


def test_a_file_of_more_than_its_size_is_refused(tmp_path, good, monkeypatch):
    (tmp_path / "large").write_bytes(b"0" * 101)
    assert len(read_regular(tmp_path / "large", 101)) == 101
    with pytest.raises(DataError, match="large: wanted at most 100 bytes; got more"):
        read_regular(tmp_path / "large", 100)
    monkeypatch.setattr(netcdf, "MAX_BYTES", 1000)
    with pytest.raises(DataError, match="wanted at most 1000 bytes"):
        read_netcdf(good, "posterior")
