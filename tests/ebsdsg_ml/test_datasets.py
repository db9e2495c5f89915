"""A data set is the same whoever builds it, whole, and never leaks."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace as Banded

import h5py
import numpy as np
import pytest
from torch.utils.data import DataLoader

from ebsdsg_ml.dataset_file import DatasetError, open_dataset
from ebsdsg_ml.datasets import (
    PatternSource,
    build_dataset,
    file_sha256,
    pattern_orientations,
    recipe_detector,
)
from ebsdsg_ml.leaks import LeakError
from ebsdsg_ml.orientations import grid_orientations, proper_rotations
from ebsdsg_ml.pattern_dataset import PatternDataset
from ebsdsg_ml.recipe import DatasetRecipe, RecipeError
from ebsdsg_ml.simulated_patterns import simulated_patterns
from ebsdsg_ml.splits import TEST, SplitError
from ebsdsg_sim.device import DeviceError
from ebsdsg_sim.orientation import multiply, random_rotations


def test_same_recipe_same_bytes_in_any_order(banded: Banded, tmp_path: Path) -> None:
    first = build_dataset(
        banded.recipe(), banded.sources(), tmp_path / "a.h5", project=banded.project
    )
    again = build_dataset(
        banded.recipe(), banded.sources()[::-1], tmp_path / "b.h5", project=banded.project
    )
    assert first.sha256 == again.sha256
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    other = build_dataset(
        banded.recipe(seed=1), banded.sources(), tmp_path / "c.h5", project=banded.project
    )
    assert other.content_sha256 != first.content_sha256
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "b.h5", "c.h5"]


def test_a_pattern_does_not_depend_on_its_company(banded: Banded, tmp_path: Path) -> None:
    small, large = tmp_path / "s.h5", tmp_path / "l.h5"
    build_dataset(
        banded.recipe(classes=(221, 225)), banded.sources(), small, project=banded.project
    )
    build_dataset(
        banded.recipe(patterns_per_class=80), banded.sources(), large, project=banded.project
    )
    with open_dataset(small) as a, open_dataset(large) as b:
        for data in (a, b):
            assert len(data.quaternions) == len(data)
        pick_a = [i for i in range(len(a)) if a.phases[a.phase[i]]["id"] == "p225-2"][:5]
        pick_b = [i for i in range(len(b)) if b.phases[b.phase[i]]["id"] == "p225-2"][:5]
        assert (a.patterns[pick_a] == b.patterns[pick_b]).all()
        assert (a.quaternions[pick_a] == b.quaternions[pick_b]).all()


def test_content_matches_report_and_recipe(banded: Banded, dataset: Path, tmp_path: Path) -> None:
    report = build_dataset(
        banded.recipe(), banded.sources(), tmp_path / "d.h5", project=banded.project
    )
    assert report.plan.leaks.empty and report.plan.counts() == {221: 40, 225: 40, 229: 40}
    assert report.plan.n_patterns == 120 and report.bytes == (tmp_path / "d.h5").stat().st_size
    with open_dataset(tmp_path / "d.h5", verify=True) as data:
        assert data.recipe == banded.recipe() and data.content_sha256 == report.content_sha256
        fold_of = {row["id"]: row["fold"] for row in data.phases}
        for i in range(len(data)):
            row = data.phases[data.phase[i]]
            assert data.fold[i] == fold_of[row["id"]] and data.label[i] == row["true"]
        assert {f: c for f, c in report.plan.fold_counts().items()} == {
            f: {g: int(((data.fold == f) & (data.label == g)).sum()) for g in (221, 225, 229)}
            for f in (0, 1)
        }
    assert report.to_dict()["phases"][0]["phase"] == "p221-0"


def test_orientations_are_unit_uniform_and_each_on_its_own() -> None:
    q = pattern_orientations(0, "Ni", range(400))
    assert np.allclose(np.linalg.norm(q, axis=1), 1)
    assert (pattern_orientations(0, "Ni", [7, 3]) == q[[7, 3]]).all()
    assert not np.allclose(pattern_orientations(0, "Al", [3]), q[3])
    # uniform on SO(3): the second moment of the quaternion is a quarter of the unit matrix
    assert np.abs(q.T @ q / 400 - np.eye(4) / 4).max() < 0.08


def test_leaking_files_are_refused_by_name(banded: Banded, tmp_path: Path) -> None:
    copied = [dataclasses.replace(s, sha256="same") for s in banded.sources()]
    with pytest.raises(LeakError, match="p221-0, p221-1"):
        build_dataset(banded.recipe(), copied, tmp_path / "x.h5", project=banded.project)
    assert not (tmp_path / "x.h5").exists()


def test_unusable_sources_are_named(banded: Banded, tmp_path: Path) -> None:
    target = tmp_path / "x.h5"
    with pytest.raises(DatasetError, match="more than once: p221-0"):
        build_dataset(
            banded.recipe(),
            [*banded.sources(), banded.sources()[0]],
            target,
            project=banded.project,
        )
    with pytest.raises(DatasetError, match=r"excluded phase.*: Ni"):
        build_dataset(
            banded.recipe(exclude=("Ni",)), banded.sources(), target, project=banded.project
        )
    with pytest.raises(DatasetError, match=r"no phase for space group.*230"):
        build_dataset(
            banded.recipe(classes=(221, 230)), banded.sources(), target, project=banded.project
        )
    with pytest.raises(SplitError, match="221: 4"):
        build_dataset(banded.recipe(n_folds=5), banded.sources(), target, project=banded.project)
    with pytest.raises(DatasetError, match=r"p221-0: master pattern .* does not exist"):
        build_dataset(banded.recipe(), banded.sources(), target)
    with pytest.raises(DatasetError, match="p221-0: projection gave uint8"):
        build_dataset(banded.recipe(size=40), banded.sources(), target, project=banded.project)
    with pytest.raises(DatasetError, match="p221-0: pattern 0 is blank"):
        build_dataset(
            banded.recipe(),
            banded.sources(),
            target,
            project=lambda s, q: np.zeros((len(q), banded.size, banded.size), np.uint8),
        )
    assert list(tmp_path.iterdir()) == []


def test_changed_master_pattern_is_refused(banded: Banded, tmp_path: Path) -> None:
    (tmp_path / "m.h5").write_bytes(b"other")
    changed = [dataclasses.replace(s, path=tmp_path / "m.h5") for s in banded.sources()]
    with pytest.raises(DatasetError, match="the file changed"):
        build_dataset(banded.recipe(), changed, tmp_path / "x.h5")


def test_phases_without_label_are_left_out_and_said(banded: Banded, tmp_path: Path) -> None:
    extra = [*banded.sources(), banded.source("odd", 230), banded.source("skip", 221)]
    report = build_dataset(
        banded.recipe(exclude=("skip",)), extra, tmp_path / "x.h5", project=banded.project
    )
    assert report.plan.left_out == {
        "odd": "space group 230 is not among the classes",
        "skip": "excluded by the recipe",
    }
    with pytest.raises(DatasetError, match="no phase for space group"):
        build_dataset(
            banded.recipe(label="relabelled"), extra, tmp_path / "y.h5", project=banded.project
        )


def test_truncated_changed_and_other_files_give_one_error(dataset: Path, tmp_path: Path) -> None:
    whole = dataset.read_bytes()
    bad = tmp_path / "bad.h5"
    for part in (0, 100, len(whole) // 2, len(whole) - 1):
        bad.write_bytes(whole[:part])
        with pytest.raises(DatasetError, match=r"bad\.h5"):
            open_dataset(bad)
    with pytest.raises(DatasetError, match="does not exist"):
        open_dataset(tmp_path / "none.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(DatasetError, match="not an ebsdsg data set"):
        open_dataset(tmp_path / "other.h5")
    bad.write_bytes(whole)
    with h5py.File(bad, "r+") as file:
        file["fold"][0] = 1 - file["fold"][0]
    with pytest.raises(DatasetError, match="was changed"):
        open_dataset(bad, verify=True)
    with h5py.File(bad, "r+") as file:
        del file.attrs["content_sha256"]
    with pytest.raises(DatasetError, match="incomplete"):
        open_dataset(bad)


@pytest.mark.parametrize("in_memory", [True, False])
def test_reader_gives_the_fold_and_nothing_else(dataset: Path, in_memory: bool) -> None:
    with open_dataset(dataset) as data:
        expected = np.flatnonzero(data.fold == 1)
        patterns = data.patterns[...]
    reader = PatternDataset(dataset, 1, in_memory=in_memory)
    assert (reader.rows == expected).all()
    order = [5, 0, 5, 3]
    assert (reader.read(order) == patterns[expected[order]]).all()
    pattern, label, row = reader[2]
    assert row == expected[2] and (pattern.numpy() == patterns[row]).all()
    assert reader.classes[label] in (221, 225, 229)
    with pytest.raises(DatasetError, match=r"fold\(s\) \[7\]"):
        PatternDataset(dataset, [0, 7])


def test_workers_read_with_their_own_handle(dataset: Path) -> None:
    reader = PatternDataset(dataset, in_memory=False, transform=lambda p: p.float().mean())
    reader.read([0])  # the parent's handle is open when the workers start
    loader = DataLoader(reader, batch_size=32, num_workers=2)  # type: ignore[arg-type]
    rows = np.concatenate([rows.numpy() for _, _, rows in loader])
    assert sorted(rows) == list(range(120))


def test_patterns_are_those_of_the_projection(shared: Path, tmp_path: Path) -> None:
    """Real master patterns; the labels only serve the folds."""
    from ebsdsg_sim.hdf5 import read_master_pattern
    from ebsdsg_sim.projection import Projector, to_uint8

    groups = {"Ni": 225, "TiC": 225, "NiAl": 221, "Si": 221}
    real = [
        PatternSource(name, name, {"true": group}, path, file_sha256(path))
        for name, group in groups.items()
        for path in [shared / f"reference/emsoft/{name}.h5"]
    ]
    small = DatasetRecipe(classes=(221, 225), patterns_per_class=8, size=40, n_folds=2)
    build_dataset(small, real, tmp_path / "real.h5")
    with open_dataset(tmp_path / "real.h5", verify=True) as data:
        nickel = [i for i in range(len(data)) if data.phases[data.phase[i]]["id"] == "Ni"]
        projector = Projector(
            read_master_pattern(real[0].path),
            recipe_detector(small),
            energy_weights="fast",
            solid_angle="physical",
        )
        expected = to_uint8(projector.patterns(data.quaternions[nickel])).numpy()
        assert np.abs(data.patterns[nickel].astype(int) - expected).max() <= 1
        assert expected.std(axis=(1, 2)).min() > 10


def test_detector_of_a_recipe() -> None:
    assert recipe_detector(DatasetRecipe(size=64)).shape == (64, 64)
    own = {"pixel_size": 400.0, "distance": 15000.0, "tilt": 5.0}
    assert recipe_detector(DatasetRecipe(size=48, detector=own)).tilt == 5.0
    for bad, message in (({"pixels": 3}, "pixels"), ({**own, "distance": -1.0}, "distance")):
        with pytest.raises(RecipeError, match=message):
            DatasetRecipe(detector=bad)


def test_a_device_that_is_not_there_makes_no_patterns() -> None:
    with pytest.raises(DeviceError, match="cuda:99"):
        simulated_patterns(DatasetRecipe(), device="cuda:99")


KILLED = """
import os, signal, sys
from tests.ebsdsg_ml import conftest as banded
from ebsdsg_ml.datasets import build_dataset

def progress(done, total, what):
    if done == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

build_dataset(banded.recipe(), banded.sources(), sys.argv[1], project=banded.bands,
              progress=progress)
"""


def test_a_killed_build_goes_on_and_gives_the_same(
    banded: Banded, dataset: Path, tmp_path: Path
) -> None:
    target, partial = tmp_path / "d.h5", tmp_path / ".d.h5.partial"
    root = Path(__file__).parents[2]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(target), "7"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert partial.exists() and not target.exists()
    with h5py.File(partial, "r+") as file:  # as if the disk had lost a write
        file["patterns"][25] = 0
    report = build_dataset(banded.recipe(), banded.sources(), target, project=banded.project)
    assert report.resumed == 6  # seven were done, one of them is spoilt
    with open_dataset(dataset) as whole, open_dataset(target, verify=True) as resumed:
        assert resumed.content_sha256 == whole.content_sha256 == report.content_sha256
    assert not partial.exists()


def test_what_is_left_of_another_plan_or_of_rubbish_is_cleaned(
    banded: Banded, tmp_path: Path
) -> None:
    target, partial = tmp_path / "d.h5", tmp_path / ".d.h5.partial"
    for rubbish in (b"", b"no HDF5", b"\x89HDF\r\n\x1a\n" + bytes(600)):
        partial.write_bytes(rubbish)
        report = build_dataset(banded.recipe(), banded.sources(), target, project=banded.project)
        assert report.resumed == 0 and not partial.exists()

    def interrupted(done: int, total: int, what: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_dataset(
            banded.recipe(), banded.sources(), target, project=banded.project, progress=interrupted
        )
    assert partial.exists()
    other = build_dataset(banded.recipe(seed=1), banded.sources(), target, project=banded.project)
    assert other.resumed == 0 and [p.name for p in tmp_path.iterdir()] == ["d.h5"]


def test_two_builders_do_not_write_one_file(banded: Banded, tmp_path: Path) -> None:
    target = tmp_path / "d.h5"
    seen = []

    def second(done: int, total: int, what: str) -> None:
        if done == 2:
            code = KILLED.replace("int(sys.argv[2])", "0")
            root = Path(__file__).parents[2]
            other = subprocess.run(
                [sys.executable, "-c", code, str(target), "0"],
                cwd=root,
                env={**os.environ, "PYTHONPATH": str(root)},
                capture_output=True,
                text=True,
                check=False,
            )
            seen.append(other.stderr)

    build_dataset(
        banded.recipe(), banded.sources(), target, project=banded.project, progress=second
    )
    assert "being written by another process" in seen[0]
    open_dataset(target, verify=True).close()


def test_an_uncompressed_file_is_mapped(banded: Banded, dataset: Path, tmp_path: Path) -> None:
    target = tmp_path / "flat.h5"
    report = build_dataset(
        banded.recipe(), banded.sources(), target, project=banded.project, compression=None
    )
    mapped = PatternDataset(target, in_memory=False)
    packed = PatternDataset(dataset, in_memory=False)
    order = [7, 100, 3, 7]
    assert (mapped.read(order) == packed.read(order)).all()
    assert isinstance(mapped._stored, np.memmap) and isinstance(packed._stored, h5py.Dataset)
    assert report.content_sha256 == packed.content_sha256  # packing is no part of the content


def test_the_test_set_is_read_only_when_asked_for(banded: Banded, tmp_path: Path) -> None:
    target = tmp_path / "t.h5"
    recipe = banded.recipe(test={"phases": ["p221-0", "p229-3"], "patterns": 9})
    report = build_dataset(recipe, banded.sources(), target, project=banded.project)
    assert report.plan.fold_counts()[TEST] == {221: 9, 229: 9}
    tested, trained = PatternDataset(target, TEST), PatternDataset(target, training=True)
    assert len(tested) == 18 and len(trained) == 120
    ids = {tested.phases[row]["id"] for row in tested.phase_rows}
    assert ids == {"p221-0", "p229-3"}
    assert ids.isdisjoint(trained.phases[row]["id"] for row in trained.phase_rows)


def test_a_second_set_is_trained_on_and_never_tested(banded: Banded, tmp_path: Path) -> None:
    low = [dataclasses.replace(s, debye_waller=(0.004, 0.004)) for s in banded.sources()]
    high = [dataclasses.replace(s, debye_waller=(0.006, 0.01), sha256=s.sha256[::-1]) for s in low]
    recipe = banded.recipe(debye_waller={"low": [0, 0.0045], "high": [0.005, 0.011]})
    target = tmp_path / "dw.h5"
    build_dataset(recipe, low + high, target, project=banded.project)
    held_out = PatternDataset(target, 1)
    assert {held_out.phases[row]["set"] for row in held_out.phase_rows} == {"low"}
    trained = PatternDataset(target, 0, training=True)
    sets = [trained.phases[row]["set"] for row in trained.phase_rows]
    assert sets.count("low") == sets.count("high") == 60
    # another set of the same phase has other orientations
    with open_dataset(target) as data:
        assert len(np.unique(data.quaternions, axis=0)) == len(data)


def test_a_grid_covers_the_fundamental_zone_better_than_chance() -> None:
    symmetry = proper_rotations(225)
    assert [len(proper_rotations(g)) for g in (2, 14, 62, 148, 166, 194, 225)] == [
        1, 2, 4, 3, 6, 12, 24
    ]  # fmt: skip
    probes = random_rotations(1500, 9)

    def worst_gap(orientations: np.ndarray) -> float:
        equivalent = np.concatenate([multiply(s, orientations) for s in symmetry])
        return float(np.arccos(np.abs(probes @ equivalent.T).max(axis=1).min()))

    grid = grid_orientations(0, "Ni", 225, 300)
    assert grid.shape == (300, 4) and np.allclose(np.linalg.norm(grid, axis=1), 1)
    for operation in symmetry:  # in the zone: no equivalent has a smaller angle
        assert (np.abs(multiply(operation, grid)[:, 0]) <= grid[:, 0] + 1e-9).all()
    assert worst_gap(grid) < 0.9 * worst_gap(random_rotations(300, 5))
    assert (grid_orientations(0, "Ni", 225, 300) == grid).all()
    assert not np.allclose(grid_orientations(0, "Al", 225, 300), grid)
