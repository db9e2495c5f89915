"""Namelists, the OpenCL probe, progress, and one reader for the files of both engines."""

from __future__ import annotations

import ctypes
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from ebsdsg_flows.campaign import CampaignError, load_campaign
from ebsdsg_flows.cli import app
from ebsdsg_flows.compare import CompareError, compare_files
from ebsdsg_flows.engines.base import EngineFailure
from ebsdsg_flows.engines.emsoft.namelists import (
    BetheNamelist,
    CpuMonteCarloNamelist,
    MasterNamelist,
    MonteCarloNamelist,
    PatternNamelist,
)
from ebsdsg_flows.engines.emsoft.opencl import Platform, check_device, list_platforms
from ebsdsg_flows.engines.emsoft.progress import MasterProgress, beams_in
from ebsdsg_flows.rerun import RerunError, seconds_of
from ebsdsg_sim.hdf5 import read_master_pattern, write_master_pattern
from ebsdsg_sim.parameters import SimulationParameters

PAPER = SimulationParameters(n_electrons=2_000_000_000, max_scatterings=300)
MOST = replace(PAPER, n_electrons=2**31 - 1)
PATTERN = PatternNamelist("m.h5", "a.txt", "p.h5", 60, 60, 15000.0, 50.0, 10.0, 20.0)
LISTS = (
    MonteCarloNamelist.of(PAPER, "Ni.xtal", "mc.h5", 1, 2),
    CpuMonteCarloNamelist.of(PAPER, "Ni.xtal", "mc.h5", 8),
    BetheNamelist.of(PAPER),
    MasterNamelist.of(PAPER, "m.h5", "BetheParameters.nml", 8, restart=True),
    PATTERN,
)


def keys_of(interface: str, group: str) -> set[str]:
    """Keys of a namelist as the recorded interface lists them."""
    section = interface.split(f"`&{group}`", 1)[1].split("\n### ")[0].split("Angle file:")[0]
    section = section.split("The text templates")[0].partition("\n")[2]
    words = {"bse1", "full", "Ivol", "undefined", "EMEBSDmaster"}
    return set(re.findall(r"`([A-Za-z]\w*)(?:=[^`]*)?`", section)) - words


@pytest.mark.parametrize("namelist", LISTS, ids=lambda n: n.group)
def test_every_key_is_written_and_none_that_emsoft_does_not_know(
    namelist: Any, shared: Path
) -> None:
    known = keys_of((shared / "emsoft" / "INTERFACE.md").read_text(), namelist.group)
    written = set(re.findall(r"^ (\w+) =", namelist.text(), re.M))
    # tensors and angle-axis pairs keep their defaults, which are the identity
    assert known - written <= {"Ftensor", "axisangle"}
    assert written - known <= ({"Notify"} if namelist.group == "MCdata" else set())
    lines = namelist.text().splitlines()
    assert lines[0] == f" &{namelist.group}" and lines[-1] == " /"


def test_the_reference_namelists_come_out_the_same(shared: Path) -> None:
    folder = shared / "reference" / "emsoft" / "TiC.inputs"
    parameters = SimulationParameters(npx=50, n_electrons=224_999, max_scatterings=300)
    ours = {
        "EMMCOpenCL": MonteCarloNamelist.of(parameters, "TiC.xtal", "TiC/TiC.h5", 1, 1),
        "EMEBSDmaster": MasterNamelist.of(parameters, "TiC/TiC.h5", "BetheParameters.nml", 2),
        "BetheParameters": BetheNamelist.of(parameters),
    }

    def values(text: str) -> dict[str, object]:
        found: dict[str, object] = {}
        for key, value in re.findall(r"^ (\w+)\s*=\s*(.*?),?\s*$", text, re.M):
            number = re.sub(r"[dD]", "e", value)
            found[key] = value if value[0] in "'." and not value[1:2].isdigit() else float(number)
        return found

    for name, namelist in ours.items():
        theirs = values((folder / f"{name}.nml").read_text())
        mine = values(namelist.text())
        assert {key: mine[key] for key in theirs} == theirs


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda: MasterNamelist(0.05, 10, 0, "m.h5", "b.nml"), "nthreads = 0"),
        (lambda: MasterNamelist(0.05, 10, 1, "undefined", "b.nml"), "energyfile"),
        (lambda: MasterNamelist(float("nan"), 10, 1, "m.h5", "b.nml"), "dmin"),
        (lambda: MasterNamelist(0.05, 10, 1, "m'.h5", "b.nml"), "energyfile"),
        (lambda: PatternNamelist("m", "a", "p", 60, 60, 1.0, 1.0, 1.0, 2.0, bitdepth="16"), "bit"),
        (lambda: PatternNamelist("m", "a", "p", 0, 60, 1.0, 1.0, 1.0, 2.0), "numsx"),
        (lambda: MonteCarloNamelist.of(PAPER, "x" * 401, "mc.h5", 1, 1), "xtalname"),
        (lambda: CpuMonteCarloNamelist.of(MOST, "Ni.xtal", "mc.h5", 5), "all threads together"),
    ],
)
def test_wrong_values_are_refused_before_anything_runs(wrong: Any, text: str) -> None:
    with pytest.raises(EngineFailure, match=text) as caught:
        wrong()
    assert caught.value.code == 130


def test_a_namelist_file_is_not_taken_for_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.nml"):
        LISTS[2].write(tmp_path / "bethe.txt")


class Library:
    """Two platforms, the second with two GPUs, as ``libOpenCL`` answers."""

    gpus = {1: [], 2: [21, 22]}  # noqa: RUF012

    def clGetPlatformIDs(self, n: int, places: Any, count: Any) -> int:
        if places is None:
            count._obj.value = len(self.gpus)
        else:
            places[:] = list(self.gpus)
        return 0

    def clGetDeviceIDs(self, platform: Any, kind: Any, n: int, places: Any, count: Any) -> int:
        assert kind.value == 4
        found = self.gpus[platform.value]
        if places is None:
            count._obj.value = len(found)
            return 0 if found else -1
        places[:] = found
        return 0

    def clGetPlatformInfo(self, handle: Any, what: Any, n: Any, text: Any, size: Any) -> int:
        text.value = f"platform {handle.value}".encode()
        return 0

    def clGetDeviceInfo(self, handle: Any, what: Any, n: Any, text: Any, size: Any) -> int:
        text.value = f"GPU {handle.value}".encode()
        return 0


def test_platforms_and_gpus_are_counted_from_one() -> None:
    listed = tuple(Platform(n, tuple(g)) for n, g in list_platforms(Library()))
    assert listed == (Platform("platform 1", ()), Platform("platform 2", ("GPU 21", "GPU 22")))
    assert check_device(listed, 2, 2) == "GPU 22"
    assert check_device(None, 3, 1) == "OpenCL 3/1"
    for platform, device, code in ((3, 1, 110), (1, 1, 111), (2, 3, 111)):
        with pytest.raises(EngineFailure) as caught:
            check_device(listed, platform, device)
        assert caught.value.code == code
    with pytest.raises(EngineFailure, match="there are: none"):
        check_device((), 1, 1)
    assert ctypes.sizeof(ctypes.c_ulong) == 8


def test_progress_of_a_real_log(shared: Path) -> None:
    log = shared / "reference" / "emsoft" / "TiC.inputs" / "EMEBSDmaster.log"
    text = log.read_text(errors="replace")
    seconds = iter(range(1000))
    progress = MasterProgress(11, clock=lambda: float(next(seconds)))
    done = []
    for line in text.splitlines():
        if progress.feed(line):
            done.append((progress.energies_done, progress.seconds_left))
    assert [n for n, _ in done] == list(range(1, 12))
    assert done[0][1] == 10.0 and done[-1][1] == 0.0
    beams = beams_in(text)
    assert len(beams) == 11 and beams[20.0] == 43 and beams[10.0] == 60


def test_one_reader_takes_the_files_of_both_engines(shared: Path, tmp_path: Path) -> None:
    import kikuchipy

    theirs = shared / "reference" / "emsoft" / "TiC.h5"
    pattern = read_master_pattern(theirs)
    ours = tmp_path / "ours.h5"
    write_master_pattern(ours, pattern)
    again = read_master_pattern(ours)
    assert type(again) is type(pattern)
    assert np.array_equal(again.north, pattern.north)
    assert again.crystal == pattern.crystal and again.parameters == pattern.parameters
    assert np.array_equal(again.monte_carlo.accum_e, pattern.monte_carlo.accum_e)
    a, b = (
        kikuchipy.load(path, projection="lambert", hemisphere="both", energy=(19, 20))
        for path in (theirs, ours)
    )
    assert np.allclose(a.data, b.data) and a.phase.space_group.number == 225


def test_compare_shows_scale_and_correlation_at_common_nodes(shared: Path, tmp_path: Path) -> None:
    folder = shared / "reference" / "emsoft"
    same = compare_files(folder / "TiC.h5", folder / "TiC.h5")
    assert len(same) == 11
    assert all(line.ncc == pytest.approx(1) and line.scale == 1 for line in same)
    other = compare_files(folder / "Ni.h5", folder / "TiC.h5")  # npx 100 and 50
    assert other[0].n_nodes == 2 * 101 * 101 and 0.1 < other[-1].ncc < 0.99
    picture = tmp_path / "difference.png"
    result = CliRunner().invoke(
        app, ["compare", str(folder / "Ni.h5"), str(folder / "TiC.h5"), "--png", str(picture)]
    )
    assert result.exit_code == 0 and "20.0" in result.stdout
    from PIL import Image

    with Image.open(picture) as image:
        assert image.size == (3 * 101 + 8, 101)
    pattern = read_master_pattern(folder / "TiC.h5")
    shifted = replace(
        pattern,
        energies=pattern.energies + 0.5,
    )
    from ebsdsg_flows.compare import _common

    with pytest.raises(CompareError, match="no energy in common"):
        _common(pattern, shifted)


def test_durations() -> None:
    assert [seconds_of(t) for t in ("24h", "90m", "1.5d", "30 s", "01:30:00")] == [
        *(86400, 5400, 129600, 30, 5400),
    ]
    for wrong in ("24", "h", "1w", "0h", "-1h", "1:90:00"):
        with pytest.raises(RerunError):
            seconds_of(wrong)


def test_a_campaign_file_names_its_engine_and_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    base = "name: c\nstructures: {source: demo}\nsimulation: {engine: emsoft"
    path.write_text(
        base + ", engine_options: {crystal_file: direct}, parameters: {max_scatterings: 300}}\n"
    )
    campaign = load_campaign(path)
    engine = campaign.simulation.make_engine()
    assert engine.name == "emsoft" and engine.crystal_file == "direct"  # type: ignore[attr-defined]
    for text, says in (
        (base + "}\n", "max_scatterings: 300"),
        (base + ", engine_options: {gpu: 1}}\n", "has no option gpu"),
        (base.replace("emsoft", "vasp") + "}\n", "simulation.engine"),
    ):
        path.write_text(text)
        with pytest.raises(CampaignError, match=says):
            load_campaign(path)
