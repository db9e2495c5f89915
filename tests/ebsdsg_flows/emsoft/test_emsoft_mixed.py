"""One campaign that two engines compute, and their master patterns of one structure compared."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from ebsdsg_flows.campaign import load_campaign
from ebsdsg_flows.engines import BuiltinEngine
from ebsdsg_flows.settings import get_settings
from ebsdsg_flows.sources import SourceError
from ebsdsg_flows.submit import plan, submit
from stores.collections import Stores

CAMPAIGN = """
name: {name}
structures: {{source: demo, materials: [mp-23, mp-13, mp-30]}}
simulation:
  debye_waller: 0.008
  overrides: {overrides}
  parameters: {{npx: 10, dmin: 0.05, n_electrons: 500000, mc_pixels: 51, max_scatterings: 300}}
"""
TO_EMSOFT = "[{materials: [mp-23], engine: emsoft}]"


@pytest.fixture
def workers(root: Path, emsoft: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the workers."""
    monkeypatch.setenv("EBSDSG_EMSOFT_PATH", str(emsoft))
    monkeypatch.setenv("EBSDSG_WORKERS", "2")
    get_settings.cache_clear()


def written(folder: Path, name: str, overrides: str) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(CAMPAIGN.format(name=name, overrides=overrides))
    return path


@pytest.mark.slow
def test_one_campaign_is_computed_by_two_engines(
    stores: Stores,
    root: Path,
    tmp_path: Path,
    workers: None,
    ebsdsg: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    mixed = load_campaign(written(tmp_path, "mixed", TO_EMSOFT))
    submitted = submit(mixed, stores)
    assert len(submitted.new) == 3 and "by builtin: 2, emsoft: 1" in str(submitted)
    assert submit(mixed, stores).new == ()
    ran = ebsdsg("run", "-n", "2", "-q")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = {s["material_id"]: s for s in stores.simulations.find()}
    assert {m: s["engine"]["name"] for m, s in found.items()} == {
        **{"mp-23": "emsoft", "mp-13": "builtin", "mp-30": "builtin"},
    }
    assert {s["state"] for s in found.values()} == {"completed"}
    members = {m["material_id"]: m for m in stores.members.find({"campaign": "mixed"})}
    assert {m: member["outcome"] for m, member in members.items()} == dict.fromkeys(found, "ended")
    assert {m: member["simulation"] for m, member in members.items()} == {
        m: simulation["key"] for m, simulation in found.items()
    }

    # without the override only the structure that EMsoft did is new
    plain = load_campaign(written(tmp_path, "plain", "[]"))
    again = submit(plain, stores)
    assert [again.members[m].material_id for m in again.new] == ["mp-23"]
    ran = ebsdsg("run", "-n", "1", "-q")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    files = {
        p["engine"]["name"]: root / p["file"]["path"]
        for p in stores.master_patterns.find({"material_id": "mp-23"})
    }
    assert set(files) == {"builtin", "emsoft"}
    shown = ebsdsg("compare", str(files["emsoft"]), str(files["builtin"]), "--png", "both.png")
    assert shown.returncode == 0, shown.stderr
    rows = [line.split() for line in shown.stdout.splitlines()[1:12]]
    assert [float(row[0]) for row in rows] == list(np.arange(10.0, 21.0))
    # EMsoft's real map of nickel, cropped to 21 x 21, and ours of the same crystal
    assert min(float(row[2]) for row in rows) > 0.97, shown.stdout
    assert (tmp_path / "both.png").stat().st_size > 500
    for file in files.values():
        with h5py.File(file) as opened:
            assert opened["EMData/EBSDmaster/mLPNH"].shape == (1, 11, 21, 21)


def test_an_engine_is_built_once_and_overrides_name_structures_that_exist(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = load_campaign(written(tmp_path, "many", "[{groups: [225], engine: emsoft}]"))
    everything = campaign.structures.model_copy(update={"materials": ()})
    campaign = campaign.model_copy(update={"structures": everything})
    built = []
    real = BuiltinEngine.__init__
    monkeypatch.setattr(BuiltinEngine, "__init__", lambda self: (built.append(self), real(self))[1])
    todo = plan(campaign, stores)
    assert len(todo.members) == 24 and len(built) == 1
    for member in todo.members.values():
        emsoft = member.item.space_group == 225
        assert member.engine.name == ("emsoft" if emsoft else "builtin")
    assert 0 < sum(m.engine.name == "emsoft" for m in todo.members.values()) < 24

    wrong = load_campaign(written(tmp_path, "wrong", "[{materials: [mp-24], engine: emsoft}]"))
    with pytest.raises(SourceError, match="overrides names mp-24, not a structure"):
        plan(wrong, stores)
