"""Every question gets its answer, from an index."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from pymongo import MongoClient, monitoring
from sample_values import SHA, master_pattern, structure_values
from test_documents import dataset

from stores import queries
from stores.collections import Stores
from stores.documents import (
    CampaignDocument,
    Failure,
    PhaseAccuracy,
    StructureDocument,
    TrainingRunDocument,
)
from stores.indexes import INDEXES
from stores.janitor import mark_lost
from stores.runs import claim
from stores.states import State, now

MEMORY = Failure(code=4, name="out of memory", message="killed by the kernel")
TIME = Failure(code=9, name="time-out", message="12 h are over")


@pytest.fixture
def filled(stores: Stores, make_simulation: Callable[..., Any]) -> Stores:
    """One simulation for each end, two of them of nickel, and what belongs to nickel."""

    def run(dmin: float, material_id: str, stage: str = "master pattern", **end: Any) -> Any:
        simulation = make_simulation(
            dmin=dmin,
            material_id=material_id,
            space_group=225 if material_id == "mp-23" else 221,
        )
        with claim(stores, simulation.key, stage=stage, program="p", n_energies=11) as run:
            if end:
                run.finish(**end)
            else:
                run.finish("completed", energies_done=11)
        return run

    done = run(0.05, "mp-23")
    stores.runs.update_one({"key": done.key}, {"$set": {"wall_seconds": 100.0}})
    stores.add(master_pattern(_simulation(stores, done), done.key))
    slow = run(0.051, "mp-2")
    stores.runs.update_one({"key": slow.key}, {"$set": {"wall_seconds": 900.0}})
    run(0.052, "mp-23", state="timed_out", failure=TIME, energies_done=6)
    run(0.053, "mp-2", state="timed_out", failure=TIME, energies_done=9)
    run(0.054, "mp-2", stage="monte carlo", state="failed", failure=MEMORY)
    lost = claim(
        stores, make_simulation(dmin=0.055, material_id="mp-2").key, stage="s", program="p"
    )
    stores.runs.update_one(
        {"key": lost.key},
        {"$set": {"owner.host": "node7", "heartbeat": now() - timedelta(hours=2)}},
    )
    mark_lost(stores)
    make_simulation(dmin=0.056, material_id="mp-3")
    stores.add(StructureDocument(**structure_values()))
    stores.add(dataset())
    stores.add(CampaignDocument(key="c", name="c", query={}, parameters={}, structures=["mp-23"]))
    for accuracy, labels, state in (
        (0.9, "true", "completed"),
        (0.98, "relabelled", "completed"),
        (0.5, "true", "failed"),
    ):
        stores.add(
            TrainingRunDocument(
                config={},
                dataset=SHA,
                labels=labels,
                state=State(state),
                accuracy=accuracy,
                epochs=[{"loss": 1.0}],
                per_phase=[
                    PhaseAccuracy(
                        material_id="mp-23", formula="Ni", label=225, n=10, accuracy=accuracy
                    )
                ],
            )
        )
    return stores


def _simulation(stores: Stores, run: Any) -> Any:
    from stores.documents import SimulationDocument

    return stores.get(SimulationDocument, run.document.simulation)


def test_counts(filled: Stores) -> None:
    assert queries.counts(filled) == [
        {"state": "completed", "stage": "master pattern", "count": 2},
        {"state": "failed", "stage": "monte carlo", "count": 1},
        {"state": "timed_out", "stage": "master pattern", "count": 2},
        {"state": "waiting", "stage": "master pattern", "count": 1},
        {"state": "waiting", "stage": "s", "count": 1},
    ]


def test_counts_of_chosen_simulations(filled: Stores) -> None:
    keys = [s["key"] for s in filled.simulations.find({"material_id": "mp-23"})]
    assert queries.counts(filled, simulations=keys) == [
        {"state": "completed", "stage": "master pattern", "count": 1},
        {"state": "timed_out", "stage": "master pattern", "count": 1},
    ]
    assert queries.counts(filled, simulations=[]) == []


def test_counts_by_group(filled: Stores) -> None:
    found = queries.counts_by_group(filled)
    assert {"space_group": 225, "state": "timed_out", "count": 1} in found
    assert sum(entry["count"] for entry in found) == filled.simulations.count_documents({})
    assert {e["space_group"] for e in queries.counts_by_group(filled, label="relabelled")} == {225}


def test_timed_out_with_energies_done(filled: Stores) -> None:
    found = queries.timed_out(filled)
    assert [(s["material_id"], s["energies_done"], s["n_energies"]) for s in found] == [
        ("mp-2", 9, 11),
        ("mp-23", 6, 11),
    ]
    assert found[0]["attempts"] == 1


def test_failures_by_code(filled: Stores) -> None:
    found = queries.failures_by_code(filled)
    assert [(f["code"], f["name"], f["count"]) for f in found] == [
        (9, "time-out", 2),
        (0, "lost", 1),
        (4, "out of memory", 1),
    ]
    assert found[2]["message"] == "killed by the kernel"


def test_slowest(filled: Stores) -> None:
    assert [r["wall_seconds"] for r in queries.slowest(filled)] == [900.0, 100.0]
    assert [r["material_id"] for r in queries.slowest(filled, 1)] == ["mp-2"]


def test_on_host(filled: Stores) -> None:
    assert [r["state"] for r in queries.on_host(filled, "node7")] == ["lost"]
    assert queries.on_host(filled, "node7", state="completed") == []
    here = queries.on_host(filled, filled.runs.find_one({"state": "failed"})["owner"]["host"])
    assert len(here) == 5
    assert here == sorted(here, key=lambda run: run["started"], reverse=True)


def test_everything_about(filled: Stores) -> None:
    found = queries.everything_about(filled, "mp-23")
    assert found["structure"]["formula"] == "Ni"
    assert {s["state"] for s in found["simulations"]} == {"completed", "timed_out"}
    assert len(found["runs"]) == 2
    assert [p["material_id"] for p in found["master_patterns"]] == ["mp-23"]
    assert [(d["fold"], d["patterns"]) for d in found["datasets"]] == [(0, 5)]
    assert sorted(t["accuracy"] for t in found["training_runs"]) == [0.5, 0.9, 0.98]
    assert found["campaigns"] == ["c"]
    nothing = queries.everything_about(filled, "mp-0")
    assert (nothing.pop("structure"), nothing.pop("unusable")) == (None, None)
    assert not any(nothing.values())


def test_training_runs(filled: Stores) -> None:
    assert [t["accuracy"] for t in queries.training_runs(filled)] == [0.98, 0.9]
    assert [t["accuracy"] for t in queries.training_runs(filled, labels="true")] == [0.9]
    assert queries.training_runs(filled)[0]["epochs"] == 1


class Recorder(monitoring.CommandListener):
    """Filters of the reads that a client sends."""

    def __init__(self) -> None:
        self.filters: list[tuple[str, dict[str, Any]]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        command = event.command
        if event.command_name == "find":
            self.filters.append((command["find"], dict(command.get("filter") or {})))
        elif event.command_name == "aggregate":
            self.filters.append((command["aggregate"], dict(command["pipeline"][0]["$match"])))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


@pytest.fixture
def recorded(filled: Stores) -> Iterator[tuple[Stores, Recorder]]:
    recorder = Recorder()
    client: MongoClient[dict[str, Any]] = MongoClient(
        filled.secret_uri(), event_listeners=[recorder], tz_aware=True
    )
    yield Stores(client, filled.secret_uri(), filled.database.name), recorder
    client.close()


@pytest.mark.parametrize(
    "ask",
    [
        queries.counts,
        lambda stores: queries.counts(stores, simulations=["a", "b"]),
        queries.counts_by_group,
        queries.timed_out,
        queries.failures_by_code,
        queries.slowest,
        lambda stores: queries.on_host(stores, "node7"),
        lambda stores: queries.everything_about(stores, "mp-23"),
        queries.training_runs,
        lambda stores: queries.training_runs(stores, labels="true"),
        mark_lost,
    ],
)
def test_every_read_starts_from_an_index(
    recorded: tuple[Stores, Recorder], ask: Callable[[Stores], object]
) -> None:
    stores, recorder = recorded
    ask(stores)
    assert recorder.filters
    for collection, condition in recorder.filters:
        leading = {keys[0][0] for keys in INDEXES[collection].values()}
        assert leading & set(condition), f"{collection} is scanned for {condition}"
