"""Data sets from simulations in the database: once, proven, shown; leaking ones are refused."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest
from PIL import Image

from ebsdsg_flows.datasets import MissingPattern, get_dataset, make_dataset
from ebsdsg_ml.leaks import LeakError
from ebsdsg_sim.hdf5 import read_master_pattern
from stores.collections import Stores
from stores.documents import (
    CampaignDocument,
    EngineReference,
    FileReference,
    MasterPatternDocument,
    SimulationDocument,
)
from stores.states import State

RECIPE = {"classes": [221, 225], "patterns_per_class": 8, "size": 32, "n_folds": 2}
PHASES = {"Ni": 225, "TiC": 225, "NiAl": 221, "Si": 221}  # the labels only serve the folds


def simulated(
    stores: Stores, root: Path, file: Path, name: str, group: int, seed: int = 1, mark: str = ""
) -> str:
    """A completed simulation of a real master pattern, its file marked to be another."""
    pattern = read_master_pattern(file)
    simulation = SimulationDocument.of(
        material_id=f"mp-{name}",
        formula=name,
        crystal=pattern.crystal.to_dict(),
        parameters={"seed": seed, "name": name},
        engine=EngineReference(name="emsoft", physics_version="1"),
        space_group=group,
        relabelled=group,
        state=State.COMPLETED,
    )
    target = root / "master_patterns" / f"{name}{seed}.h5"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, target)
    if mark:
        with h5py.File(target, "r+") as opened:
            opened.attrs["mark"] = mark
    stores.add(simulation)
    stores.save(
        MasterPatternDocument(
            key=simulation.key,
            simulation=simulation.key,
            material_id=f"mp-{name}",
            run="r",
            file=FileReference(
                path=target.relative_to(root).as_posix(),
                bytes=target.stat().st_size,
                sha256=hashlib.sha256(target.read_bytes()).hexdigest(),
            ),
            npx=pattern.npx,
            n_sites=1,
            energies=[float(e) for e in pattern.energies],
            engine=EngineReference(name="emsoft", physics_version="1"),
            parameters={},
        )
    )
    return simulation.key


@pytest.fixture
def simulations(stores: Stores, root: Path, shared: Path) -> list[str]:
    folder = shared / "reference/emsoft"
    return [simulated(stores, root, folder / f"{n}.h5", n, g) for n, g in PHASES.items()]


def test_a_data_set_is_made_once_with_proof_and_picture(
    stores: Stores, root: Path, simulations: list[str]
) -> None:
    document = make_dataset(stores, RECIPE, simulations)
    assert document.leak_report["empty"] and document.leak_report["checked"]["file"] == 4
    assert document.counts == {"true": {"221": 8, "225": 8}} and document.split == "phase"
    assert {member.simulation for member in document.members} == set(simulations)
    with Image.open(root / document.pictures[0].path) as picture:
        assert picture.size[0] > 6 * 128 and len(set(picture.getdata())) > 50
    built = (root / document.file.path).stat().st_mtime_ns
    # another spelling, a rule that nothing meets, simulations that are not used: the same data set
    again = make_dataset(
        stores,
        {**RECIPE, "classes": [225, 221], "seed": 0, "exclude": {"elements": ["U"]}},
        simulations[::-1],
    )
    assert again.key == document.key and (root / document.file.path).stat().st_mtime_ns == built
    other = make_dataset(stores, {**RECIPE, "seed": 1}, simulations)
    assert other.key != document.key and stores.datasets.count_documents({}) == 2
    assert get_dataset(stores, document.key[:10]).key == document.key
    for bad, message in (("", "not the key"), ("x1", "not the key"), ("0" * 64, "no data set")):
        with pytest.raises(MissingPattern, match=message):
            get_dataset(stores, bad)


def test_the_second_debye_waller_set_and_the_test_set_are_in_the_document(
    stores: Stores, root: Path, simulations: list[str], shared: Path
) -> None:
    folder = shared / "reference/emsoft"
    second = simulated(stores, root, folder / "Ni_B080.h5", "Ni", 225, seed=2)  # B = 0.008 nm^2
    copper = simulated(stores, root, folder / "Ni.h5", "Cu", 225, seed=3, mark="not really")
    recipe = {
        **RECIPE,
        "debye_waller": {"low": [0, 0.0075], "high": [0.0078, 0.011]},
        "test": {"phases": ["mp-TiC"], "patterns": 3},
    }
    document = make_dataset(stores, recipe, [*simulations, second, copper])
    members = {(m.material_id, m.set): m for m in document.members}
    assert members["mp-TiC", "low"].fold is None and members["mp-TiC", "low"].patterns == 3
    assert members["mp-Ni", "high"].fold == members["mp-Ni", "low"].fold
    assert members["mp-Ni", "high"].simulation == second


def test_a_leaking_recipe_is_refused_with_the_names(
    stores: Stores, root: Path, simulations: list[str], shared: Path
) -> None:
    file = shared / "reference/emsoft/Ni.h5"
    copy = simulated(stores, root, file, "Cu", 225, seed=2)  # nickel under another name
    refused = []
    for seed in range(4):
        try:
            make_dataset(stores, {**RECIPE, "seed": seed}, [*simulations, copy])
        except LeakError as error:
            refused.append(str(error))
    assert refused and all("(mp-Cu, mp-Ni) in folds 0, 1" in text for text in refused)


def test_the_command_line_builds_shows_and_proves(
    stores: Stores,
    root: Path,
    simulations: list[str],
    ebsdsg: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
) -> None:
    stores.save(
        CampaignDocument(
            key="little", name="little", query={}, parameters={}, simulations=simulations
        )
    )
    recipe, output = tmp_path / "recipe.yaml", tmp_path / "copy.h5"
    recipe.write_text(json.dumps({**RECIPE, "generation": "fresh"}))
    done = ebsdsg("dataset", "build", str(recipe), "-c", "little", "-o", str(output), "-q")
    assert done.returncode == 0, done.stderr
    assert "16 fresh patterns of 32 x 32 pixels, 4 phases, 2 phase-disjoint folds" in done.stdout
    (document,) = stores.datasets.find()
    assert output.stat().st_size == document["file"]["bytes"]
    assert stores.get(CampaignDocument, "little").datasets == [document["key"]]  # type: ignore[union-attr]
    by_query = ebsdsg("dataset", "build", str(recipe), "-s", '{"engine.name": "emsoft"}', "-q")
    assert document["key"] in by_query.stdout
    assert "fold 1" in ebsdsg("dataset", "show", document["key"][:8]).stdout
    proof = ebsdsg("dataset", "leaks", str(output))
    assert proof.returncode == 0 and "no leak" in proof.stdout
    for arguments, message in (
        (("-c", "none"), "no campaign none"),
        ((), "either --campaign or --simulations"),
        (("-s", '{"state": "failed"}'), "no completed simulation"),
    ):
        failed = ebsdsg("dataset", "build", str(recipe), *arguments)
        assert failed.returncode == 1 and message in failed.stderr
    recipe.write_text("folds: 3")
    assert "unknown recipe entry folds" in ebsdsg("dataset", "build", str(recipe), "-c", "x").stderr
