"""Simulations survive interruption, are done once, and are believed only after reading back."""

import errno
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from ebsdsg_sim import simulate as module
from ebsdsg_sim.crystal import Crystal, Site
from ebsdsg_sim.hdf5 import read_master_pattern
from ebsdsg_sim.hdf5_file import FileRefusedError
from ebsdsg_sim.masterpattern import compute_energy
from ebsdsg_sim.montecarlo import simulate_monte_carlo
from ebsdsg_sim.parameters import SimulationParameters
from ebsdsg_sim.simulate import SimulationError, partial_path, simulate

NIAL = Crystal(
    "NiAl",
    (0.2887,) * 3 + (90.0,) * 3,
    221,
    517,
    (Site("Ni", (0, 0, 0)), Site("Al", (0.5, 0.5, 0.5))),
)
PARAMETERS = SimulationParameters(
    npx=8, energy_min=17, dmin=0.09, mc_pixels=51, n_electrons=20_000, seed=2
)


class Stop(BaseException):
    """Ends a simulation from its progress callback, as a signal would."""


def stop_at(stage, done):
    def progress(now, count, total):
        if (now, count) == (stage, done):
            raise Stop

    return progress


def content(path: Path) -> dict:
    """Everything in a file but times."""
    found = {}
    with h5py.File(path) as f:

        def visit(name, item):
            if isinstance(item, h5py.Dataset) and "EMheader" not in name and "Creation" not in name:
                value = item[()]
                if name == "ebsdsg/monte_carlo":
                    value = {**json.loads(value[0]), "cpu_seconds": 0}
                elif name == "ebsdsg/provenance":
                    value = json.loads(value[0])["energies"]
                elif value.dtype == object:
                    value = value.tolist()
                else:
                    value = value.tobytes()
                found[name] = value

        f.visititems(visit)
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Path, module.SimulationReport]:
    path = tmp_path_factory.mktemp("whole") / "nial.h5"
    return path, simulate(NIAL, PARAMETERS, path)


def test_the_file_is_what_the_report_says(whole):
    path, report = whole
    mp = read_master_pattern(path)
    assert (mp.crystal, mp.parameters) == (NIAL, PARAMETERS)
    assert mp.north.shape == (2, 4, 17, 17)
    assert mp.north.min() > 0
    assert report.energies == [17, 18, 19, 20]
    assert report.bytes == path.stat().st_size
    assert report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert report.cpu_seconds > report.monte_carlo_seconds > 0
    assert all(s > 1 for s in report.mean_strong)
    assert report.n_directions == [45] * 4
    assert not report.already_complete
    assert report.energies_resumed == 0
    assert json.loads(json.dumps(report.to_dict()))["path"] == str(path)
    assert list(path.parent.iterdir()) == [path]


def test_energies_are_those_of_compute_energy(whole):
    mp = read_master_pattern(whole[0])
    monte_carlo = simulate_monte_carlo(NIAL, PARAMETERS)
    assert np.array_equal(mp.monte_carlo.accum_e, monte_carlo.accum_e)
    north, south, _ = compute_energy(NIAL, PARAMETERS, monte_carlo, 1)
    assert np.array_equal(mp.north[:, 1], north)
    assert np.array_equal(mp.south[:, 1], south)


def test_a_finished_simulation_is_not_done_again(whole, monkeypatch):
    path, report = whole
    before = path.stat().st_mtime_ns
    monkeypatch.setattr(module, "compute_energy", None)
    monkeypatch.setattr(module, "simulate_monte_carlo", None)
    again = simulate(replace(NIAL, name="beta"), PARAMETERS, path)
    assert again.already_complete
    assert again.sha256 == report.sha256
    assert again.mean_strong == report.mean_strong
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("stage", "done", "kept"),
    [("energies", k, k) for k in range(4)] + [("directions", 45, 0)],
)
def test_resuming_after_an_interruption_gives_the_same_file(whole, tmp_path, stage, done, kept):
    path = tmp_path / "nial.h5"
    with pytest.raises(Stop):
        simulate(NIAL, PARAMETERS, path, progress=stop_at(stage, done))
    assert not path.exists()
    assert partial_path(path).exists()
    seen = []
    report = simulate(NIAL, PARAMETERS, path, progress=lambda *event: seen.append(event))
    assert report.energies_resumed == kept
    assert "monte carlo" not in {stage for stage, _, _ in seen}
    assert [e for e in seen if e[0] == "energies"] == [("energies", k, 4) for k in range(kept, 5)]
    assert content(path) == content(whole[0])
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_sigkill_loses_nothing_that_was_finished(whole, tmp_path):
    path = tmp_path / "nial.h5"
    script = f"""
import json, os, signal
from ebsdsg_sim.crystal import Crystal
from ebsdsg_sim.parameters import SimulationParameters
from ebsdsg_sim.simulate import simulate
def progress(stage, done, total):
    if (stage, done) == ("energies", 2):
        os.kill(os.getpid(), signal.SIGKILL)
simulate(Crystal.from_dict(json.loads({json.dumps(json.dumps(NIAL.to_dict()))})),
         SimulationParameters.from_dict(json.loads({json.dumps(json.dumps(PARAMETERS.to_dict()))})),
         {str(path)!r}, progress=progress)
"""
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not path.exists()
    assert simulate(NIAL, PARAMETERS, path).energies_resumed == 2
    assert content(path) == content(whole[0])
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_no_file_and_keeps_the_work(whole, tmp_path, monkeypatch):
    path = tmp_path / "nial.h5"
    real = os.fsync
    calls = []

    def full_disk(descriptor):
        calls.append(descriptor)
        # Each write syncs the file and its folder: Monte Carlo, three energies, then the end.
        if len(calls) > 8:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        simulate(NIAL, PARAMETERS, path)
    monkeypatch.undo()
    assert sorted(tmp_path.iterdir()) == [partial_path(path)]
    assert simulate(NIAL, PARAMETERS, path).energies_resumed == 3
    assert content(path) == content(whole[0])


def test_another_simulation_is_not_overwritten_or_mixed_in(whole, tmp_path):
    path = whole[0]
    with pytest.raises(SimulationError, match="differs in dmin, seed"):
        simulate(NIAL, replace(PARAMETERS, dmin=0.1, seed=3), path)
    with pytest.raises(SimulationError, match="differs in sites"):
        simulate(NIAL.with_debye_waller(0.007), PARAMETERS, path)
    new = tmp_path / "new.h5"
    with pytest.raises(Stop):
        simulate(NIAL, PARAMETERS, new, progress=stop_at("energies", 1))
    with pytest.raises(SimulationError, match=r"partial\.h5 belongs to another .* differs in npx"):
        simulate(NIAL, replace(PARAMETERS, npx=9), new)


def test_broken_files_in_the_way_are_named(tmp_path):
    path = tmp_path / "nial.h5"
    path.write_text("not a master pattern")
    with pytest.raises(SimulationError, match="move the file away"):
        simulate(NIAL, PARAMETERS, path)
    path.unlink()
    partial_path(path).write_text("neither")
    with pytest.raises(SimulationError, match="delete this unfinished file"):
        simulate(NIAL, PARAMETERS, path)
    with pytest.raises(SimulationError, match="does not exist"):
        simulate(NIAL, PARAMETERS, tmp_path / "nowhere" / "x.h5")


@pytest.mark.parametrize("reader", ["read_monte_carlo", "read_unfinished"])
def test_an_unfinished_file_that_cannot_be_read_now_is_continued_later(
    tmp_path, monkeypatch, reader
):
    path = tmp_path / "nial.h5"
    with pytest.raises(Stop):
        simulate(NIAL, PARAMETERS, path, progress=stop_at("energies", 2))

    def refuse(file):
        raise FileRefusedError(errno.EAGAIN, "Resource temporarily unavailable", str(file))

    with monkeypatch.context() as patch:
        patch.setattr(module, reader, refuse)
        with pytest.raises(FileRefusedError) as caught:
            simulate(NIAL, PARAMETERS, path)
    assert "delete" not in str(caught.value)
    assert simulate(NIAL, PARAMETERS, path).energies_resumed == 2
    with monkeypatch.context() as patch:
        patch.setattr(module, "read_master_pattern", refuse)
        with pytest.raises(FileRefusedError):
            simulate(NIAL, PARAMETERS, path)


def test_two_processes_do_not_work_on_one_file(tmp_path):
    path = tmp_path / "nial.h5"
    with (tmp_path / ".nial.h5.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(SimulationError, match="another process"):
            simulate(NIAL, PARAMETERS, path)
    # A lock file left by a dead process is no lock.
    assert (tmp_path / ".nial.h5.lock").exists()
    with pytest.raises(Stop):
        simulate(NIAL, PARAMETERS, path, progress=stop_at("energies", 0))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [(lambda a: -a, "negative"), (lambda a: 0 * a, "no intensity at")],
)
def test_an_unphysical_result_is_not_believed(tmp_path, monkeypatch, spoil, message):
    def spoiled(*args, **kwargs):
        north, south, statistics = compute_energy(*args, **kwargs)
        return (spoil(north), south, statistics) if args[3] == 2 else (north, south, statistics)

    monkeypatch.setattr(module, "compute_energy", spoiled)
    with pytest.raises(SimulationError, match=message):
        simulate(NIAL, PARAMETERS, tmp_path / "x.h5")
    assert not (tmp_path / "x.h5").exists()


def test_other_debye_waller_factors_reuse_the_monte_carlo(whole, tmp_path, monkeypatch):
    monte_carlo = read_master_pattern(whole[0]).monte_carlo
    monkeypatch.setattr(module, "simulate_monte_carlo", None)
    warm = NIAL.with_debye_waller([0.008, 0.01])
    simulate(warm, PARAMETERS, tmp_path / "warm.h5", monte_carlo=monte_carlo)
    mp = read_master_pattern(tmp_path / "warm.h5")
    assert np.array_equal(mp.monte_carlo.accum_z, monte_carlo.accum_z)
    assert not np.array_equal(mp.north, read_master_pattern(whole[0]).north)
    with pytest.raises(SimulationError, match=r"depth_step is 1\.0, not 2\.0"):
        simulate(
            warm,
            replace(PARAMETERS, depth_step=2.0),
            tmp_path / "other.h5",
            monte_carlo=monte_carlo,
        )
