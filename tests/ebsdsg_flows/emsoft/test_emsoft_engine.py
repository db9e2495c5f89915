"""The engine against stand-in programs: every failure, every option, and what is not done twice."""

from __future__ import annotations

import os
import shutil
import time
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ebsdsg_flows.engines import EMsoftEngine, EngineFailure, make_engine
from ebsdsg_flows.engines.emsoft.result_file import check_master, check_monte_carlo
from ebsdsg_flows.engines.emsoft.resume import MARK
from ebsdsg_sim.crystal import Crystal, Site
from ebsdsg_sim.hdf5 import read_master_pattern
from ebsdsg_sim.parameters import SimulationParameters
from tests.ebsdsg_flows.emsoft.bench import SMALL, TIC, Bench


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, emsoft: Path) -> Path:
    """Master pattern of an uninterrupted run."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("unbroken")
        patch.setenv("EBSDSG_ROOT", str(folder))
        patch.setenv("EBSDSG_CONFIG_FILE", os.devnull)
        patch.setenv("EBSDSG_EMSOFT_PATH", str(emsoft))
        return Bench(folder, folder / "orders.json").simulate(engine=EMsoftEngine()).path


def test_a_simulation_goes_through_its_stages_and_ends_in_a_checked_file(bench: Bench) -> None:
    result = bench.simulate(engine=EMsoftEngine())
    assert bench.stages == [
        ("crystal file", "EMmkxtal"),
        ("monte carlo", "EMMCOpenCL"),
        ("master pattern", "EMEBSDmaster"),
    ]
    assert [s for s in bench.progress if s[0] == "energies"][-1] == ("energies", 11, 11)
    pattern = read_master_pattern(result.path)
    assert pattern.north.shape == (2, 11, 11, 11) and pattern.crystal.name == "TiC"
    assert result.size == result.path.stat().st_size
    assert result.report["mean_strong"] == [float(59 - i) for i in range(11)]
    (folder,) = bench.root.glob("emsoft/simulations/*/*/*")
    left = sorted(path.name for path in folder.iterdir())
    assert left == sorted(
        [
            *("BetheParameters.nml", "EMEBSDmaster.log", "EMEBSDmaster.nml"),
            *("EMMCOpenCL.log", "EMMCOpenCL.nml", "EMmkxtal.log"),
        ]
    )
    # a worker that died before it could say so finds the finished file
    bench.stages.clear()
    assert bench.simulate().sha256 == result.sha256
    assert bench.stages == []


def test_another_debye_waller_factor_takes_the_kept_monte_carlo(bench: Bench) -> None:
    bench.simulate("a" * 8)
    warmer = TIC.with_debye_waller(0.0081)
    result = bench.simulate("b" * 8, crystal=warmer)
    assert len(bench.logs("EMMCOpenCL")) == 1 and len(bench.logs("EMEBSDmaster")) == 2
    first, second = (
        read_master_pattern(bench.root / "master_patterns" / f"{k * 8}.h5") for k in "ab"
    )
    assert [s.debye_waller for s in second.crystal.sites] == [0.0081, 0.0081]
    assert np.array_equal(first.monte_carlo.accum_z, second.monte_carlo.accum_z)
    assert result.report["gpu"] is None  # no Monte Carlo was run for it


def test_the_cpu_monte_carlo_is_another_simulation(bench: Bench) -> None:
    engine = EMsoftEngine(crystal_file="direct", monte_carlo="cpu")
    assert engine.physics_version != EMsoftEngine().physics_version
    bench.simulate("a" * 8)
    bench.simulate("b" * 8, engine=engine)
    assert bench.stages[-2:] == [("monte carlo", "EMMC"), ("master pattern", "EMEBSDmaster")]
    assert len(list(bench.root.glob("emsoft/montecarlo/*/*.h5"))) == 2


def test_threads_that_do_not_divide_the_electrons_run_a_few_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EBSDSG_EMSOFT_THREADS", "8")
    engine = EMsoftEngine(crystal_file="direct", monte_carlo="cpu")
    parameters = replace(SMALL, n_electrons=100_001)
    pattern = read_master_pattern(bench.simulate(engine=engine, parameters=parameters).path)
    assert pattern.monte_carlo.n_electrons == pattern.monte_carlo.n_simulated == 100_008
    (kept,) = bench.root.glob("emsoft/montecarlo/*/*.h5")
    for asked in (100_000, 100_009):  # more than one electron per thread too many, or too few
        with pytest.raises(EngineFailure, match="n_electrons"):
            check_monte_carlo(kept, TIC, replace(SMALL, n_electrons=asked))


def test_emmc_counts_electrons_in_32_bits() -> None:
    many = replace(SMALL, n_electrons=4_000_000_000)
    with pytest.raises(ValueError, match="EMMC counts to 2147483647"):
        EMsoftEngine(monte_carlo="cpu").check(many)
    EMsoftEngine().check(many)


MASTER = [
    ({"do": "crash", "energy": 9}, 145, "failed", -11),
    ({"do": "killed", "energy": 9}, 146, "failed", -9),
    ({"do": "out of memory"}, 141, "failed", 2),
    ({"do": "disk full", "energy": 9}, 140, "failed", 2),
    ({"do": "silent", "energy": 9}, 160, "failed", 0),
    ({"do": "fatal"}, 144, "failed", 0),
    ({"do": "corrupt", "energy": 9, "how": "NaN"}, 161, "failed", None),
    ({"do": "corrupt", "energy": 9, "how": "zero"}, 161, "failed", None),
]


@pytest.mark.parametrize(("order", "code", "state", "exit_code"), MASTER)
def test_what_goes_wrong_in_the_master_pattern_has_its_number(
    bench: Bench, order: dict[str, Any], code: int, state: str, exit_code: int | None
) -> None:
    bench.order(EMEBSDmaster=order)
    failure = bench.fail()
    assert (failure.code, failure.state, failure.exit_code) == (code, state, exit_code)
    assert failure.next_action and failure.name
    assert bench.stages[-1] == ("master pattern", "EMEBSDmaster")


@pytest.mark.parametrize(
    ("order", "code"),
    [({"do": "no GPU"}, 111), ({"do": "no platform"}, 110), ({"do": "silent"}, 160)],
)
def test_what_goes_wrong_in_the_monte_carlo_has_its_number(
    bench: Bench, order: dict[str, Any], code: int
) -> None:
    bench.order(EMMCOpenCL=order)
    assert bench.fail().code == code
    assert not list(bench.root.glob("emsoft/montecarlo/*/*"))


def test_a_crystal_file_with_another_crystal_goes_no_further(bench: Bench) -> None:
    bench.order(EMmkxtal={"do": "other crystal"})
    failure = bench.fail(engine=EMsoftEngine())
    assert failure.code == 123 and "Debye-Waller factor of site 1" in failure.message
    assert bench.stages == [("crystal file", "EMmkxtal")]


def test_time_out_in_the_sixth_energy_is_resumed_to_the_same_numbers(
    bench: Bench, unbroken: Path
) -> None:
    bench.order(EMEBSDmaster={"do": "slow", "energy": 6, "once": True})
    left: list[float] = []
    failure = bench.fail(engine=EMsoftEngine(), walltime=6.0, time_left=left.append)
    assert (failure.code, failure.state) == (150, "timed_out") and left
    assert [s for s in bench.progress if s[0] == "energies"][-1] == ("energies", 5, 11)
    result = bench.simulate(walltime=300.0)
    assert result.report["resumed_after_energies"] == 5
    assert "corrected" in result.report["restart"]
    assert "restart = .TRUE." in max(bench.root.rglob("EMEBSDmaster.nml")).read_text()
    resumed, whole = read_master_pattern(result.path), read_master_pattern(unbroken)
    for name in ("north", "south"):
        ours, theirs = getattr(resumed, name), getattr(whole, name)
        assert np.abs(ours / theirs - 1).max() < 1e-3
        assert np.array_equal(ours[:, 6:], theirs[:, 6:])
        assert not np.array_equal(ours[:, :6], theirs[:, :6])
    assert np.array_equal(resumed.monte_carlo.accum_z, whole.monte_carlo.accum_z)
    assert len(result.report["mean_strong"]) == 11
    assert len(bench.logs("EMMCOpenCL")) == 1
    with h5py.File(result.path) as a, h5py.File(unbroken) as b:
        name = "EMData/EBSDmaster/masterSPNH"
        assert np.allclose(a[name][()], b[name][()], rtol=1e-3) and MARK not in a.attrs


def test_an_uncorrected_restart_would_have_been_brighter(
    bench: Bench, unbroken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in has EMsoft's quirk; without the correction the test above would fail."""
    from ebsdsg_flows.engines.emsoft import resume

    monkeypatch.setattr(resume, "thin_out", lambda mc, crystal, lowest: (mc, np.ones(lowest)))
    bench.order(EMEBSDmaster={"do": "crash", "energy": 6, "once": True})
    assert bench.fail().code == 145
    resumed, whole = read_master_pattern(bench.simulate().path), read_master_pattern(unbroken)
    ratio = resumed.north[:, :6].mean() / whole.north[:, :6].mean()
    assert 1.02 < ratio < 1.15


def test_a_run_stopped_before_its_first_energy_begins_anew(bench: Bench) -> None:
    bench.order(EMEBSDmaster={"do": "crash", "energy": 11, "once": True})
    assert bench.fail().code == 145
    result = bench.simulate()
    assert "resumed_after_energies" not in result.report
    assert "restart = .TRUE." not in "".join(
        path.read_text() for path in bench.root.rglob("EMEBSDmaster.nml")
    )


def test_the_end_of_the_queues_job_limits_a_stage(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 62))
    bench.order(EMEBSDmaster={"do": "slow", "energy": 11})
    start = time.monotonic()
    assert bench.fail().code == 150
    assert time.monotonic() - start < 40


def test_a_disk_that_is_too_small_is_not_filled(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 1000, 1000))
    failure = bench.fail()
    assert failure.code == 140 and "are needed" in failure.message
    assert not bench.logs("EMEBSDmaster")


def test_missing_pieces_of_the_installation_are_named(
    bench: Bench, emsoft: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(emsoft, copy)
    monkeypatch.setenv("EBSDSG_EMSOFT_PATH", str(copy))
    (copy / "bin" / "EMMCOpenCL").unlink()
    failure = bench.fail()
    assert failure.code == 100 and "EMMCOpenCL" in failure.message
    (copy / "resources" / "RandomSeeds.data").unlink()
    assert bench.fail().code == 101
    monkeypatch.delenv("EBSDSG_EMSOFT_PATH")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "EBSDSG_EMSOFT_PATH" in bench.fail().message
    monkeypatch.setenv("EMSOFTPATHNAME", str(emsoft))
    bench.simulate()


@pytest.mark.parametrize("program", ["EMmkxtal", "EMMCOpenCL", "EMEBSDmaster"])
def test_another_version_of_emsoft_is_refused_at_its_first_line(
    bench: Bench, emsoft: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(emsoft, copy)
    monkeypatch.setenv("EBSDSG_EMSOFT_PATH", str(copy))
    old = "#!/bin/sh\nprintf ' Source code version  : 4_3_0_abcdef\\n'\nsleep 300\n"
    (copy / "bin" / program).write_text(old)
    failure = bench.fail(engine=EMsoftEngine())
    assert failure.code == 101 and f"{program} is of EMsoft 4_3_0_abcdef" in failure.message


def test_a_file_of_another_version_of_emsoft_is_refused(bench: Bench) -> None:
    path = bench.simulate().path
    (kept,) = bench.root.glob("emsoft/montecarlo/*/*.h5")
    for file_name, stage in ((path, "EBSDmaster"), (kept, "MCOpenCL")):
        with h5py.File(file_name, "r+") as file:
            del file[f"EMheader/{stage}/Version"]
            text = h5py.string_dtype("ascii")
            file[f"EMheader/{stage}"].create_dataset("Version", data=["4_3_0_abc"], dtype=text)
    with pytest.raises(EngineFailure, match="4_3_0_abc"):
        check_master(path, TIC, SMALL)
    with pytest.raises(EngineFailure, match="4_3_0_abc"):
        check_monte_carlo(kept, TIC, SMALL)
    assert bench.simulate().report["engine_version"] == "5_0_4_d50c973"


def test_what_emsoft_cannot_do_is_refused(bench: Bench) -> None:
    with pytest.raises(ValueError, match="write max_scatterings: 300"):
        EMsoftEngine().check(SimulationParameters())
    for change in ({"absorption_length": "physical"}, {"thickness": "energy"}):
        with pytest.raises(ValueError, match="only 'emsoft'"):
            EMsoftEngine().check(SimulationParameters(max_scatterings=300, **change))
    with pytest.raises(ValueError, match="has no option gpu"):
        make_engine("emsoft", gpu=1)
    with pytest.raises(ValueError, match="one of dialogue, direct"):
        make_engine("emsoft", crystal_file="magic")
    bismuth = Crystal(
        "Bi", (0.4746,) * 3 + (57.237,) * 3, 166, 459, (Site("Bi", (0.23389,) * 3, 1, 0.01),)
    )
    assert bench.fail(crystal=bismuth).code == 120
