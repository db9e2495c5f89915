"""What EMsoft cannot do is refused before anything is computed."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from ebsdsg_flows.engines import EMsoftEngine
from ebsdsg_flows.engines.base import EngineFailure
from ebsdsg_flows.engines.emsoft.configuration import Installation, RunFolder
from ebsdsg_flows.engines.emsoft.crystal_file import check_expressible
from ebsdsg_flows.engines.emsoft.refusals import check_simulable, mean_atomic_number
from ebsdsg_flows.settings import Settings
from ebsdsg_sim.crystal import Crystal, Site
from ebsdsg_sim.symmetry import hall_number_for
from tests.ebsdsg_flows.emsoft.bench import SMALL, TIC, Bench

AT_0 = (0.0, 0.0, 0.0)


def solution(gold: float) -> Crystal:
    """Copper with some gold on the same site."""
    return Crystal(
        *("AuCu", (0.367, 0.367, 0.367, 90, 90, 90), 225, hall_number_for(225)),
        (Site("Au", AT_0, gold, 0.005), Site("Cu", AT_0, 1 - gold, 0.005)),
    )


def test_a_solution_is_refused_whose_mean_atomic_number_emsoft_would_get_wrong(
    bench: Bench,
) -> None:
    mixed = solution(0.1)
    assert mean_atomic_number(mixed) == 54 and mixed.mean_atomic_number == pytest.approx(34)
    failure = bench.fail(crystal=mixed)
    assert failure.code == 120 and bench.stages == []
    assert "54.00 instead of 34.00; use the built-in engine" in failure.message
    check_simulable(solution(0.5))  # the mean of the two is right
    check_expressible(mixed)  # EMEBSD may project what the other engine made
    titanium, carbon = TIC.sites
    check_simulable(replace(TIC, sites=(titanium, replace(carbon, occupancy=0.99))))
    with pytest.raises(EngineFailure, match="partly occupied"):
        check_simulable(replace(TIC, sites=(titanium, replace(carbon, occupancy=0.8))))


def test_a_trigonal_cell_that_looks_rhombohedral_is_refused() -> None:
    cell = (0.5, 0.5, 0.5, 90, 90, 120)
    site = Site("Ni", AT_0, 1, 0.005)
    trigonal = Crystal("x", cell, 164, hall_number_for(164), (site,))
    with pytest.raises(EngineFailure, match="a = c") as caught:
        check_simulable(trigonal)
    assert caught.value.code == 120
    check_simulable(replace(trigonal, cell=(0.5, 0.5, 0.501, 90, 90, 120)))
    check_simulable(Crystal("x", cell, 191, hall_number_for(191), (site,)))


def test_more_sites_than_emsofts_lists_are_refused() -> None:
    def of(n: int) -> Crystal:
        sites = [
            Site("Si", (i % 10 / 10, i // 10 % 10 / 10, i // 100 / 10), 1, 0.005) for i in range(n)
        ]
        return Crystal("big", (5.0, 5.1, 5.2, 90, 90, 90), 1, 1, tuple(sites))

    check_simulable(of(100))
    with pytest.raises(EngineFailure, match="101 sites") as caught:
        check_simulable(of(101))
    assert caught.value.code == 120
    check_expressible(of(250))
    with pytest.raises(EngineFailure, match="251 sites"):
        check_expressible(of(251))


@pytest.mark.parametrize(("lowest", "step"), [(14.3, 0.1), (12.8, 0.4)])
def test_energy_bins_that_emsoft_counts_otherwise_are_refused(lowest: float, step: float) -> None:
    with pytest.raises(ValueError, match="EMsoft makes"):
        EMsoftEngine().check(replace(SMALL, energy_min=lowest, energy_step=step))
    EMsoftEngine().check(replace(SMALL, energy_min=lowest + 0.2, energy_step=0.5))


def test_depth_bins_that_emsoft_counts_otherwise_are_refused() -> None:
    with pytest.raises(ValueError, match="depth_step"):
        EMsoftEngine().check(replace(SMALL, depth_max=0.3, depth_step=0.1))


def test_the_length_of_a_folder_is_counted_in_bytes(tmp_path: Path) -> None:
    deep = tmp_path / ("é" * 100) / ("é" * 100)
    assert len(str(deep)) < 400 < len(os.fsencode(deep))
    with pytest.raises(EngineFailure, match="bytes") as caught:
        RunFolder.make(deep)
    assert caught.value.code == 101 and not deep.exists()
    with pytest.raises(EngineFailure, match="too long a name"):
        Installation.find(Settings(emsoft_path=deep))


def test_a_relative_installation_is_found_from_every_folder(
    bench: Bench, emsoft: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(emsoft.parent)
    monkeypatch.setenv("EBSDSG_EMSOFT_PATH", emsoft.name)
    bench.simulate("a" * 8, engine=EMsoftEngine())
    monkeypatch.setenv("HOME", str(emsoft.parent))
    monkeypatch.setenv("EBSDSG_EMSOFT_PATH", f"~/{emsoft.name}")
    monkeypatch.setenv("EBSDSG_EMSOFT_BIN", f"{emsoft.name}/bin")
    monkeypatch.setenv("EBSDSG_FINDSYM", "~/findsym")
    bench.simulate("b" * 8, engine=EMsoftEngine())
    monkeypatch.delenv("EBSDSG_EMSOFT_PATH")
    monkeypatch.setenv("EMSOFTPATHNAME", emsoft.name)
    assert Installation.find(Settings()).folder == emsoft
    assert Settings().findsym == emsoft.parent / "findsym"


def test_an_installation_in_a_home_that_nobody_knows_is_one_failure(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EBSDSG_EMSOFT_PATH", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("EMSOFTPATHNAME", "~nobodyx/EMsoft")
    with pytest.raises(EngineFailure, match=r"EMSOFTPATHNAME = .*no home folder ~nobodyx"):
        Installation.find(Settings())
    monkeypatch.delenv("EMSOFTPATHNAME")
    own = tmp_path / ".config" / "EMsoft" / "EMsoftConfig.json"
    own.parent.mkdir(parents=True)
    for said, why in (("~nobodyx/E", "no home folder ~nobodyx"), (5, "is not readable as EMsoft")):
        own.write_text(json.dumps({"EMsoftpathname": said}))
        with pytest.raises(EngineFailure, match=rf"EMsoftConfig\.json.*{why}"):
            Installation.find(Settings())
