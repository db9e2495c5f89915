"""Damaged files stop no simulation for ever; what a full disk held up is not lost."""

from __future__ import annotations

import errno
import logging
import re
import shutil
from collections import namedtuple
from pathlib import Path

import h5py
import numpy as np
import pytest

from ebsdsg_flows.engines import EngineFailure
from ebsdsg_flows.engines.emsoft import monte_carlo, resume
from ebsdsg_sim.hdf5 import read_master_pattern
from tests.ebsdsg_flows.emsoft.bench import Bench


def restarts(bench: Bench) -> list[bool]:
    """Whether each run of EMEBSDmaster was told to continue."""
    lists = sorted(bench.root.rglob("EMEBSDmaster.nml"), key=lambda path: path.stat().st_mtime)
    return ["restart = .TRUE." in path.read_text() for path in lists]


def stop_in_the_sixth(bench: Bench) -> Path:
    """The file that a run left which crashed in bin 6."""
    bench.order(EMEBSDmaster={"do": "crash", "energy": 6})
    assert bench.fail().code == 145
    bench.orders.unlink()
    (left,) = bench.root.glob("emsoft/simulations/*/*/*/data/master.h5")
    return left


@pytest.mark.parametrize("damage", ["truncated", "empty", "zeroed"])
def test_a_damaged_kept_monte_carlo_is_computed_again(
    bench: Bench, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench.simulate("a" * 8)
    (kept,) = bench.root.glob("emsoft/montecarlo/*/*.h5")
    whole = kept.read_bytes()
    middle = len(whole) // 2
    kept.write_bytes(
        {
            "truncated": whole[:middle],
            "empty": b"",
            "zeroed": whole[:middle] + bytes(2000) + whole[middle + 2000 :],
        }[damage]
    )
    with caplog.at_level(logging.WARNING):
        bench.simulate("b" * 8)
    assert "is damaged and will be replaced" in caplog.text and str(kept) in caplog.text
    assert len(bench.logs("EMMCOpenCL")) == 2
    bench.simulate("c" * 8)
    assert len(bench.logs("EMMCOpenCL")) == 2


def test_a_damaged_finished_file_is_computed_again(bench: Bench) -> None:
    path = bench.simulate().path
    whole = path.read_bytes()
    path.write_bytes(whole[:100_000])
    assert bench.simulate().size == len(whole)
    with h5py.File(path, "r+") as file:
        file["EMData/EBSDmaster/masterSPNH"][...] = np.nan
    bench.simulate()
    with h5py.File(path) as file:
        assert np.isfinite(file["EMData/EBSDmaster/masterSPNH"][()]).all()
    assert len(bench.logs("EMEBSDmaster")) == 3


def test_a_file_without_stereographic_maps_is_not_continued(bench: Bench) -> None:
    left = stop_in_the_sixth(bench)
    with h5py.File(left, "r+") as file:
        del file["EMData/EBSDmaster/masterSPNH"]
    assert "resumed_after_energies" not in bench.simulate().report
    assert restarts(bench) == [False, False]


@pytest.mark.parametrize(
    ("first", "second", "again"),
    [
        ({"do": "crash", "energy": 6}, {"do": "silent", "energy": 6}, False),
        ({"do": "fatal", "energy": 6}, {"do": "fatal", "energy": 6}, False),
        ({"do": "killed", "energy": 6}, {"do": "crash", "energy": 6}, True),  # once from outside
        ({"do": "crash", "energy": 6}, {"do": "crash", "energy": 5}, True),  # after one more energy
        ({"do": "crash", "energy": 5}, {"do": "crash", "energy": 5}, True),  # two files, one each
    ],
)
def test_a_file_that_two_runs_could_not_continue_is_not_continued_again(
    bench: Bench, first: dict[str, object], second: dict[str, object], again: bool
) -> None:
    stop_in_the_sixth(bench)
    said = []
    for order in (first, second):
        bench.order(EMEBSDmaster=order)
        said.append(bench.fail().next_action)
    bench.orders.unlink()
    assert "continues after the last finished energy" in said[0]
    assert said[1].startswith("rerun; ") and ("is set aside" in said[1]) != again
    assert bool(list(bench.root.rglob("master.refused.h5"))) != again
    report = bench.simulate().report
    assert restarts(bench) == [False, True, True, again]
    assert ("resumed_after_energies" in report) == again


def other_master(emsoft: Path, folder: Path, script: str) -> str:
    """Folder of programs of which EMEBSDmaster does something else."""
    bad = folder / "bad_bin"
    shutil.copytree(emsoft / "bin", bad)
    (bad / "EMEBSDmaster").write_text(f"#!/bin/sh\n{script}\n")
    return str(bad)


def test_one_wrong_machine_does_not_cost_the_finished_energies(
    bench: Bench, emsoft: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = stop_in_the_sixth(bench)
    with monkeypatch.context() as patch:  # compiled for another processor
        patch.setenv("EBSDSG_EMSOFT_BIN", other_master(emsoft, tmp_path, "kill -ILL $$"))
        failure = bench.fail()
    assert failure.code == 145 and "signal 4" in failure.message
    assert failure.next_action == "rerun; it continues after the last finished energy"
    assert left.exists()
    assert bench.simulate().report["resumed_after_energies"] == 5


def test_what_is_counted_of_a_file_ends_with_an_added_energy(bench: Bench) -> None:
    left = stop_in_the_sixth(bench)
    note = left.with_name("master.failed_once.txt")
    bench.order(EMEBSDmaster={"do": "crash", "energy": 6})
    bench.fail()
    assert note.read_text().startswith("145 ")
    bench.order(EMEBSDmaster={"do": "killed", "energy": 6})
    bench.fail()
    assert note.exists()
    bench.order(EMEBSDmaster={"do": "crash", "energy": 5})
    bench.fail()
    assert not note.exists() and left.exists()


REFUSALS = [
    (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), 147),
    (PermissionError(errno.EACCES, "Permission denied"), 147),
    (KeyError("Unable to open object (file read failed: errno = 5, error message = 'EIO')"), 147),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), 141),
    (MemoryError("Unable to allocate 3.2 GiB"), 141),
]
refused = pytest.mark.parametrize(
    ("error", "code"), REFUSALS, ids=["lock", "permission", "disk", "system memory", "memory"]
)


def refuse(patch: pytest.MonkeyPatch, refused: Path, error: Exception) -> None:
    """Let HDF5 refuse to open one file; root is refused nothing by permissions."""

    class File(h5py.File):  # type: ignore[misc]
        def __init__(self, name: object, *args: object, **options: object) -> None:
            if str(name) == str(refused):
                raise error
            super().__init__(name, *args, **options)

    patch.setattr(h5py, "File", File)


@refused
def test_a_kept_monte_carlo_that_cannot_be_read_now_is_left_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    bench.simulate("a" * 8)
    (kept,) = bench.root.glob("emsoft/montecarlo/*/*.h5")
    before = kept.stat().st_ino
    with monkeypatch.context() as patch:
        refuse(patch, kept, error)
        failure = bench.fail("b" * 8)
    assert failure.code == code and failure.next_action.startswith("rerun")
    bench.simulate("b" * 8)
    assert kept.stat().st_ino == before
    assert len(bench.logs("EMMCOpenCL")) == 1


@refused
def test_a_finished_file_that_cannot_be_read_now_is_left_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    path = bench.simulate().path
    before = path.stat().st_ino
    with monkeypatch.context() as patch:
        refuse(patch, path, error)
        with pytest.raises(EngineFailure) as caught:
            bench.simulate()
    assert caught.value.code == code
    bench.simulate()
    assert path.stat().st_ino == before
    assert len(restarts(bench)) == 1


@refused
def test_an_unfinished_file_that_cannot_be_read_now_is_continued_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    left = stop_in_the_sixth(bench)
    with monkeypatch.context() as patch:
        refuse(patch, left, error)
        assert bench.fail().code == code
    assert bench.simulate().report["resumed_after_energies"] == 5
    assert restarts(bench) == [False, True]


def test_a_copy_that_cannot_be_read_now_counts_nothing_against_its_file(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = stop_in_the_sixth(bench)
    real = resume.lowest_energy

    def lowest(path: Path, *arguments: object) -> int:
        if path.name == "master.h5" and path != left:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *arguments)  # type: ignore[arg-type]

    bench.order(EMEBSDmaster={"do": "crash", "energy": 6})
    with monkeypatch.context() as patch:
        patch.setattr(resume, "lowest_energy", lowest)
        assert bench.fail().code == 145
    assert not list(bench.root.rglob("master.failed_once.txt"))


def test_a_damaged_size_is_damage_and_not_too_little_memory(bench: Bench) -> None:
    bench.simulate("a" * 8)
    (kept,) = bench.root.glob("emsoft/montecarlo/*/*.h5")
    with h5py.File(kept, "r+") as file:
        group = file["EMData/MCOpenCL"]
        del group["accum_z"]
        group.create_dataset("accum_z", shape=(1 << 20,) * 3, dtype="i4", chunks=(8, 8, 8))
    bench.simulate("b" * 8)
    assert len(bench.logs("EMMCOpenCL")) == 2


def test_a_master_pattern_of_another_cell_is_refused_as_often_as_it_is_made(
    bench: Bench, emsoft: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.simulate("c" * 8)
    program = emsoft / "bin" / "EMEBSDmaster"
    script = f"{program} \"$@\" | sed -u 's/atoms in the unit cell :.*/&6/'"
    with monkeypatch.context() as patch:
        patch.setenv("EBSDSG_EMSOFT_BIN", other_master(emsoft, tmp_path, script))
        for _ in range(2):
            failure = bench.fail("d" * 8)
            assert failure.code == 123 and "counts 86 atoms" in failure.message
        # it was ended before it could finish, by its time or by a crash
        bench.order(EMEBSDmaster={"do": "crash", "energy": 6})
        assert bench.fail("d" * 8).code == 123
        bench.orders.unlink()
    assert "resumed_after_energies" not in bench.simulate("d" * 8).report
    assert restarts(bench) == [False] * 5


def test_a_file_of_an_earlier_monte_carlo_is_not_mixed_with_the_present_one(bench: Bench) -> None:
    stop_in_the_sixth(bench)
    (kept,) = bench.root.glob("emsoft/montecarlo/*/*.h5")
    with h5py.File(kept, "r+") as file:  # as another device would have made it
        group = file["EMData/MCOpenCL"]
        for name in ("accum_e", "accum_z"):
            group[name][...] = group[name][()][::-1]
    path = bench.simulate().path
    assert restarts(bench) == [False, False]
    with h5py.File(path) as made, h5py.File(kept) as file:
        for name in ("EMData/MCOpenCL/accum_e", "EMData/MCOpenCL/accum_z"):
            assert np.array_equal(made[name][()], file[name][()])


def test_energies_of_several_restarts_are_counted_from_the_first(bench: Bench) -> None:
    stop_in_the_sixth(bench)
    bench.order(EMEBSDmaster={"do": "crash", "energy": 3})
    bench.fail()
    bench.orders.unlink()
    result = bench.simulate()
    assert restarts(bench) == [False, True, True]
    assert result.report["resumed_after_energies"] == 5
    # a worker that died before it could say so left a file that says it
    assert bench.simulate().report["restart"] == "depth weights corrected"


FULL = (
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EDQUOT, "Disk quota exceeded"),
    RuntimeError(
        "Can't decrement id ref count (errno = 28, error message = 'No space left on device'"
    ),
)


@pytest.mark.parametrize("error", FULL, ids=["disk", "quota", "HDF5"])
def test_a_finished_monte_carlo_outlives_a_full_disk(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*args: object, **options: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(monte_carlo, "_copy", full)
        for _ in range(2):
            failure = bench.fail()
            assert failure.code == 140 and re.search("No space|quota", failure.message)
    bench.simulate()
    assert len(bench.logs("EMMCOpenCL")) == 1
    assert not list(bench.root.rglob("montecarlo.checked.h5"))


def test_a_disk_that_fills_when_the_finished_file_gets_its_name_is_called_full(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ebsdsg_flows.engines.emsoft import engine

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "_install", full)
        assert bench.fail().code == 140
    result = bench.simulate()
    assert "restart" not in result.report and len(restarts(bench)) == 1
    read_master_pattern(result.path)


def test_a_resume_asks_for_the_room_that_its_copies_take(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ebsdsg_flows.engines.emsoft import attempt

    left = stop_in_the_sixth(bench)
    monkeypatch.setattr(attempt, "SPARE_BYTES", 0)
    one = 8 * 11 * 11 * 11 * 3 + 12 * 11 * 51 * 51
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 0, int(2.5 * one)))
    failure = bench.fail()
    assert failure.code == 140 and "are needed" in failure.message
    left.unlink()
    bench.simulate()
