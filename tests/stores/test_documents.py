"""Documents are what their schema says, and come back from the database as they went in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from sample_values import SHA, master_pattern, nickel, structure_values

from stores.collections import Stores
from stores.documents import (
    DOCUMENTS,
    CampaignDocument,
    ConfusionMatrix,
    DatasetDocument,
    Document,
    DocumentError,
    EngineReference,
    EnsembleDocument,
    ExperimentalPatternsDocument,
    Failure,
    FileReference,
    ImportDocument,
    MemberDocument,
    Origin,
    Owner,
    PhaseAccuracy,
    PredictionDocument,
    RunDocument,
    SimulationDocument,
    SourceStructureDocument,
    StructureDocument,
    TrainingRunDocument,
    UnusableStructureDocument,
    crystal_hash,
    entry_hash,
    simulation_key,
)
from stores.identity import content_hash
from stores.states import State

FILE = FileReference(path="data/x.h5", bytes=10, sha256=SHA)
ENGINE = EngineReference(name="builtin", physics_version="1")
RECIPE = {"size": 224, "seed": 1}


def simulation(**fields: Any) -> SimulationDocument:
    return SimulationDocument.of(
        **{
            "material_id": "mp-23",
            "formula": "Ni",
            "crystal": nickel(),
            "parameters": {"dmin": 0.05},
            "engine": ENGINE,
            "space_group": 225,
            "relabelled": 225,
            **fields,
        }
    )


def dataset(**fields: Any) -> DatasetDocument:
    member = {
        "simulation": SHA,
        "material_id": "mp-23",
        "formula": "Ni",
        "true": 225,
        "relabelled": 225,
        "fold": 0,
        "patterns": 5,
    }
    return DatasetDocument(
        **{
            "key": content_hash(RECIPE),
            "recipe": RECIPE,
            "labels": "relabelled",
            "folds": 3,
            "n_patterns": 5,
            "counts": {"true": {"225": 5}, "relabelled": {"225": 5}},
            "members": [member],
            "leak_report": {"phases in two folds": 0},
            "file": FILE,
            **fields,
        }
    )


SAMPLES: dict[str, Document] = {
    "import": ImportDocument(
        source="materials project",
        query={"groups": [225]},
        query_hash=SHA,
        listings=[{"group": 225, "pages_done": [1, 2], "total": 2500}],
        missing=[{"what": "listing", "group": 225, "page": 3, "reason": "time-out"}],
    ),
    "source structure": SourceStructureDocument(
        key="mp-23",
        material_id="mp-23",
        structure={"lattice": {}, "sites": []},
        formula_pretty="Ni",
        source=Origin(kind="materials project", identifier="mp-23", database_version="2026.2.8"),
        licence="CC-BY-4.0",
        space_group=225,
        volume_conventional=43.8,
        entry_hash=entry_hash({}, space_group=225, deprecated=False, licence="CC-BY-4.0"),
    ),
    "structure": StructureDocument(**structure_values()),
    "experimental patterns": ExperimentalPatternsDocument(
        key=ExperimentalPatternsDocument.key_of(SHA),
        content_sha256=SHA,
        processing={"size": 229, "mask": None},
        quality_definition={"size": 229, "mask": None, "formula": "Krieger Lassen 1994"},
        quality=[0.5, 0.6, 0.7],
        n_patterns=9,
        unlabelled=9,
        with_geometry=0,
        with_orientation=0,
        phases=[{"name": "Ni", "space_group": None, "given": {}, "in_file": {}, "patterns": 9}],
        sources=[
            {
                "path": "p.up1",
                "sha256": SHA,
                "bytes": 32416,
                "kind": "EDAX up1",
                "n_patterns": 9,
                "shape": [60, 60],
                "static_correction_made": False,
            }
        ],
        file=FILE,
    ),
    "unusable structure": UnusableStructureDocument(
        key="mp-7",
        material_id="mp-7",
        reason="mp-7: atoms 1 (Ni) and 2 (Al) overlap",
        kind="refused",
        symprec=0.1,
        source=Origin(kind="materials project", identifier="mp-7").model_dump(
            include={"kind", "identifier", "reference"}
        ),
        licence="CC-BY-4.0",
    ),
    "simulation": simulation(),
    "run": RunDocument(
        stage="master pattern",
        program="builtin",
        owner=Owner(host="node1", pid=7),
        state=State.FAILED,
        failure=Failure(code=3, name="out of memory", message="killed"),
        files=[FILE],
    ),
    "master pattern": master_pattern(simulation()),
    "dataset": dataset(),
    "training run": TrainingRunDocument(
        config={"epochs": 2},
        seeds={"torch": 1},
        dataset=SHA,
        labels="true",
        epochs=[{"epoch": 1, "loss": 1.5}],
        confusion={"validation": ConfusionMatrix(classes=[221, 225], counts=[[3, 1], [0, 4]])},
        per_phase=[PhaseAccuracy(material_id="mp-23", formula="Ni", label=225, n=4, accuracy=0.75)],
        accuracy=0.875,
    ),
    "ensemble": EnsembleDocument(
        key=EnsembleDocument.key_of(["t", "u"], SHA),
        members=["t", "u"],
        labels="relabelled",
        classes=[225, 229],
        collapsed=["u"],
        target=SHA,
        n_patterns=10,
        summary={"collapsed": [1]},
    ),
    "prediction": PredictionDocument(
        key=PredictionDocument.key_of("t", SHA),
        training_run="t",
        patterns=SHA,
        n_patterns=3,
        file=FILE,
        summary={"225": 3},
    ),
    "campaign member": MemberDocument(
        key=f"c/{SHA}", campaign="c", member=SHA, material_id="mp-23", space_group=225
    ),
    "campaign": CampaignDocument(
        key="demo", name="demo", query={"source": "demo"}, parameters={}, simulations=[SHA]
    ),
}


def test_there_is_a_sample_of_every_kind() -> None:
    assert {type(sample) for sample in SAMPLES.values()} == set(DOCUMENTS)
    assert len({kind.collection for kind in DOCUMENTS}) == len(DOCUMENTS)


@pytest.mark.parametrize("name", SAMPLES)
def test_comes_back_from_the_database_unchanged(stores: Stores, name: str) -> None:
    sample = SAMPLES[name]
    assert stores.add(sample)
    assert stores.get(type(sample), sample.key) == sample


@pytest.mark.parametrize("name", SAMPLES)
def test_unknown_fields_are_refused_by_name(name: str) -> None:
    sample = SAMPLES[name]
    with pytest.raises(DocumentError, match=r"speling: Extra inputs"):
        type(sample).from_mongo({**sample.to_mongo(), "speling": 1})


@pytest.mark.parametrize("name", SAMPLES)
def test_a_newer_schema_is_not_guessed_at(name: str) -> None:
    sample = SAMPLES[name]
    with pytest.raises(DocumentError, match=r"schema_version is 99, this code reads 1"):
        type(sample).from_mongo({**sample.to_mongo(), "schema_version": 99})


@pytest.mark.parametrize("name", SAMPLES)
def test_says_who_wrote_it_and_when(name: str) -> None:
    sample = SAMPLES[name]
    assert sample.code_version.startswith("0.")
    assert sample.created.tzinfo is UTC
    assert datetime.now(UTC) - sample.created < timedelta(hours=1)
    assert type(sample).__name__ in repr(sample)
    assert len(repr(sample)) < 200


def test_times_are_utc_in_milliseconds_whatever_the_zone() -> None:
    east = datetime(2026, 1, 1, 3, 0, 0, 123_999, tzinfo=timezone(timedelta(hours=2)))
    sample = simulation(created=east)
    assert sample.created == datetime(2026, 1, 1, 1, 0, 0, 123_000, tzinfo=UTC)


@pytest.mark.parametrize("value", [np.zeros(3), float("nan"), b"bytes", {"x": np.ones((2, 2))}])
def test_arrays_and_nan_do_not_go_into_documents(value: object) -> None:
    campaign = CampaignDocument(
        key="c", name="c", query={}, parameters={}, progress={"deep": [{"value": value}]}
    )
    with pytest.raises(DocumentError, match=r"progress\.deep\[0\]\.value"):
        campaign.to_mongo()


def test_a_document_too_large_for_mongodb_is_refused() -> None:
    campaign = CampaignDocument(
        key="c", name="c", query={}, parameters={}, progress={"log": "x" * 16_000_000}
    )
    with pytest.raises(DocumentError, match="put its data into a file"):
        campaign.to_mongo()


@pytest.mark.parametrize("path", ["/etc/passwd", "../x.h5", "a/../../x", "a\\b", ""])
def test_files_stay_below_the_data_root(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        FileReference(path=path, bytes=1, sha256=SHA)


class TestIdentityOfACrystal:
    def test_name_does_not_count(self) -> None:
        assert crystal_hash(nickel(name="nickel")) == crystal_hash(nickel())

    @pytest.mark.parametrize(
        "change",
        [
            {"cell": [0.3525] * 3 + [90.0] * 3},
            {"space_group": 221, "hall_number": 517},
            {"hall_number": 524},
            {"sites": [{**nickel()["sites"][0], "element": "Cu"}]},
            {"sites": [{**nickel()["sites"][0], "debye_waller": 0.005}]},
            {"sites": [{**nickel()["sites"][0], "occupancy": 0.9}]},
        ],
    )
    def test_content_counts(self, change: dict[str, Any]) -> None:
        assert crystal_hash(nickel(**change)) != crystal_hash(nickel())

    def test_metadata_of_a_structure_does_not(self) -> None:
        a = StructureDocument(**structure_values("mp-1", licence="X", notes=["n"]))
        b = StructureDocument(**structure_values("mp-2"))
        assert a.crystal_hash == b.crystal_hash

    def test_an_edited_crystal_is_noticed(self) -> None:
        values = {**structure_values(), "crystal": nickel(cell=[0.36] * 3 + [90.0] * 3)}
        with pytest.raises(DocumentError, match="crystal_hash is not the hash of the crystal"):
            StructureDocument.from_mongo(values)

    def test_group_of_document_and_crystal_agree(self) -> None:
        group = {"number": 221, "symbol": "Pm-3m", "hall_number": 517, "point_group": "m-3m"}
        with pytest.raises(DocumentError, match=r"crystal\.space_group is 225, not 221"):
            StructureDocument.from_mongo({**structure_values(), "space_group": group})


class TestIdentityOfASimulation:
    def test_each_input_makes_another_one(self) -> None:
        keys = {
            simulation().key,
            simulation(parameters={"dmin": 0.06}).key,
            simulation(parameters={"dmin": 0.05, "seed": 1}).key,
            simulation(crystal=nickel(cell=[0.36] * 3 + [90.0] * 3)).key,
            simulation(engine=EngineReference(name="emsoft", physics_version="1")).key,
            simulation(engine=EngineReference(name="builtin", physics_version="2")).key,
        }
        assert len(keys) == 6

    def test_labels_and_release_do_not(self) -> None:
        other = simulation(
            material_id="mp-0",
            formula="nickel",
            relabelled=221,
            engine=EngineReference(name="builtin", physics_version="1", version="9.9"),
        )
        assert other.key == simulation().key

    def test_is_frozen(self) -> None:
        # a change here orphans every finished simulation: it needs a migration
        assert simulation_key(nickel(), {"dmin": 0.05}, "builtin", "1") == (
            "dfc1e52d8354e373e8367be3e4b2a758c479773257c4392fef1be1a45bb449b8"
        )

    def test_key_and_inputs_must_agree(self) -> None:
        values = {**simulation().to_mongo(), "parameters": {"dmin": 0.07}}
        with pytest.raises(DocumentError, match="is not the hash of the inputs"):
            SimulationDocument.from_mongo(values)

    def test_running_means_claimed(self) -> None:
        with pytest.raises(DocumentError, match="a claim belongs to a running simulation"):
            SimulationDocument.from_mongo({**simulation().to_mongo(), "state": "running"})


def test_sensitivity_of_a_label_follows_from_the_answers() -> None:
    values = structure_values()
    values["relabel"]["by_tolerance"].append({"symprec": 0.1, "number": 221})
    with pytest.raises(DocumentError, match="sensitive contradicts"):
        StructureDocument.from_mongo(values)


def test_a_phase_in_two_folds_is_no_data_set() -> None:
    first = dataset().members[0]
    second = first.model_copy(update={"fold": 1})
    with pytest.raises(ValueError, match="mp-23 is in two folds"):
        dataset(members=[first, second], n_patterns=10)


def test_pattern_counts_of_a_data_set_add_up() -> None:
    with pytest.raises(ValueError, match="members have 5 patterns, n_patterns is 6"):
        dataset(n_patterns=6)


def test_confusion_matrix_is_square() -> None:
    with pytest.raises(ValueError, match="2 x 2"):
        ConfusionMatrix(classes=[221, 225], counts=[[1, 2]])


def test_campaign_members_come_once() -> None:
    with pytest.raises(ValueError, match="simulations has members twice"):
        CampaignDocument(key="c", name="c", query={}, parameters={}, simulations=[SHA, SHA])
