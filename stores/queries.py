"""The questions that are asked again and again, as functions that return plain documents.

Each starts from an index (:mod:`stores.indexes`), so it stays fast with a hundred thousand
simulations.  For anything else the collections of :class:`stores.collections.Stores` are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from stores.refusals import hides
from stores.states import ENDED_BADLY, State

if TYPE_CHECKING:
    from stores.collections import Stores

_NO_ID = {"_id": False}
_BATCH = 1000


def counts(stores: Stores, *, simulations: Iterable[str] | None = None) -> list[dict[str, Any]]:
    """How many simulations there are in each state and stage.

    Parameters
    ----------
    stores : open stores.
    simulations : keys to count, such as those of a campaign; ``None`` counts all.

    Returns
    -------
    Documents ``{"state", "stage", "count"}``, sorted; states without simulations are left out.
    """
    group = {"$group": {"_id": {"state": "$state", "stage": "$stage"}, "count": {"$sum": 1}}}
    total: dict[tuple[str, str], int] = {}
    if simulations is None:
        matches: Iterator[dict[str, Any]] = iter([{"state": {"$in": _every_state()}}])
    else:
        matches = ({"key": {"$in": keys}} for keys in _batches(simulations))
    for match in matches:
        for found in stores.simulations.aggregate([{"$match": match}, group]):
            place = (found["_id"]["state"], found["_id"]["stage"])
            total[place] = total.get(place, 0) + found["count"]
    return [
        {"state": state, "stage": stage, "count": count}
        for (state, stage), count in sorted(total.items())
    ]


def campaign_simulations(stores: Stores, campaign: str) -> list[str]:
    """Keys of the simulations of a campaign's present members, sorted, as far as they are known.

    Parameters
    ----------
    stores : open stores.
    campaign : name.
    """
    found = stores.members.distinct("simulation", {"campaign": campaign, "current": True})
    return sorted(key for key in found if key is not None)


def counts_by_group(stores: Stores, *, label: str = "true") -> list[dict[str, Any]]:
    """How many simulations of each space group are in each state.

    Parameters
    ----------
    stores : open stores.
    label : ``true`` or ``relabelled``.

    Returns
    -------
    Documents ``{"space_group", "state", "count"}``, sorted.
    """
    field = {"true": "$space_group", "relabelled": "$relabelled"}[label]
    found = stores.simulations.aggregate(
        [
            {"$match": {"state": {"$in": _every_state()}}},
            {"$group": {"_id": {"group": field, "state": "$state"}, "count": {"$sum": 1}}},
        ]
    )
    return sorted(
        (
            {
                "space_group": entry["_id"]["group"],
                "state": entry["_id"]["state"],
                "count": entry["count"],
            }
            for entry in found
        ),
        key=lambda entry: (entry["space_group"], entry["state"]),
    )


def timed_out(stores: Stores, n: int = 100) -> list[dict[str, Any]]:
    """Simulations that ran out of time, those with most energies done first.

    Parameters
    ----------
    stores : open stores.
    n : at most so many.

    Returns
    -------
    Documents with ``key``, ``material_id``, ``formula``, ``stage``, ``energies_done``,
    ``n_energies``, ``attempts`` (their number) and ``next_action``.
    """
    found = stores.simulations.find(
        {"state": str(State.TIMED_OUT)},
        {
            "_id": False,
            **dict.fromkeys(
                (
                    "key",
                    "material_id",
                    "formula",
                    "stage",
                    "energies_done",
                    "n_energies",
                    "attempts.number",
                    "next_action",
                ),
                True,
            ),
        },
        sort=[("energies_done", -1)],
        limit=n,
    )
    documents = [{**entry, "attempts": len(entry["attempts"])} for entry in found]
    return sorted(documents, key=lambda entry: (-entry["energies_done"], entry["material_id"]))


def failures_by_code(stores: Stores) -> list[dict[str, Any]]:
    """Runs that ended badly, counted by the number of their failure, most frequent first.

    Returns
    -------
    Documents ``{"code", "name", "count", "last", "message", "run"}``: the time, text and key of the
    latest of each kind.
    """
    bad = {"state": {"$in": sorted(str(state) for state in ENDED_BADLY)}}
    kinds = stores.runs.aggregate(
        [
            {"$match": bad},
            {
                "$group": {
                    "_id": {"code": "$failure.code", "name": "$failure.name"},
                    "count": {"$sum": 1},
                }
            },
        ]
    )
    documents = []
    for kind in kinds:
        code, name = kind["_id"]["code"], kind["_id"]["name"]
        last = stores.runs.find_one(
            {"failure.code": code, "failure.name": name},
            {"finished": True, "failure.message": True, "key": True},
            sort=[("finished", -1)],
        )
        assert last is not None, "counted above, and failures stay"
        documents.append(
            {
                "code": code,
                "name": name,
                "count": kind["count"],
                "last": last["finished"],
                "message": last["failure"]["message"],
                "run": last["key"],
            }
        )
    return sorted(documents, key=lambda entry: (-entry["count"], entry["code"]))


def slowest(stores: Stores, n: int = 10) -> list[dict[str, Any]]:
    """The completed runs that took longest.

    Returns
    -------
    Documents with ``key``, ``simulation``, ``material_id``, ``stage``, ``wall_seconds``,
    ``cpu_seconds`` and ``host``, slowest first.
    """
    found = (
        stores.runs.find({"state": str(State.COMPLETED)}, _NO_ID).sort("wall_seconds", -1).limit(n)
    )
    return [
        {
            **{
                key: run[key]
                for key in (
                    "key",
                    "simulation",
                    "material_id",
                    "stage",
                    "wall_seconds",
                    "cpu_seconds",
                )
            },
            "host": run["owner"]["host"],
        }
        for run in found
    ]


def on_host(
    stores: Stores, host: str, *, state: State | str | None = None, n: int = 100
) -> list[dict[str, Any]]:
    """Run documents of a host, latest first.

    Parameters
    ----------
    stores : open stores.
    host : name of the machine.
    state : only runs in this state.
    n : at most so many.
    """
    query: dict[str, Any] = {"owner.host": host}
    if state is not None:
        query["state"] = str(State(state))
    return list(stores.runs.find(query, _NO_ID).sort("started", -1).limit(n))


def everything_about(stores: Stores, material_id: str) -> dict[str, Any]:
    """All that belongs to a structure.

    Returns
    -------
    ``structure`` (or ``None``), ``unusable`` (why its entry cannot be used, or ``None``),
    ``hidden`` (whether the structure counts no more for that, see `stores.refusals.hides`) and
    lists ``simulations``, ``runs``, ``master_patterns``, ``datasets`` (key, labels, fold and number
    of its patterns), ``training_runs`` (key, labels and its accuracy), ``campaigns`` (names) and
    ``members`` (what it is in each of them).
    """
    own = {"material_id": material_id}
    datasets = [
        {"key": found["key"], "labels": found["labels"], **member}
        for found in stores.datasets.find(
            {"members.material_id": material_id}, {"key": 1, "labels": 1, "members": 1}
        )
        for member in _of_material(found["members"], material_id, ("fold", "patterns"))
    ]
    trained = [
        {"key": found["key"], "labels": found["labels"], **phase}
        for found in stores.training_runs.find(
            {"per_phase.material_id": material_id}, {"key": 1, "labels": 1, "per_phase": 1}
        )
        for phase in _of_material(
            found["per_phase"], material_id, ("label", "n", "accuracy", "most_frequent")
        )
    ]
    campaigns = stores.campaigns.find({"structures": material_id}, {"key": 1})
    members = stores.members.find(own, _NO_ID)
    structure = stores.structures.find_one({"key": material_id}, _NO_ID)
    unusable = stores.unusable_structures.find_one({"key": material_id}, _NO_ID)
    return {
        "structure": structure,
        "unusable": unusable,
        "hidden": bool(structure and unusable and hides(unusable, structure)),
        "simulations": list(stores.simulations.find(own, _NO_ID)),
        "runs": list(stores.runs.find(own, _NO_ID).sort("started", 1)),
        "master_patterns": list(stores.master_patterns.find(own, _NO_ID)),
        "datasets": datasets,
        "training_runs": trained,
        "campaigns": sorted(found["key"] for found in campaigns),
        "members": sorted(members, key=lambda member: str(member["key"])),
    }


def training_runs(stores: Stores, *, labels: str | None = None) -> list[dict[str, Any]]:
    """Completed training runs, most accurate first.

    Parameters
    ----------
    stores : open stores.
    labels : only those that learned ``true`` or ``relabelled`` groups.

    Returns
    -------
    Documents ``{"key", "labels", "fold", "dataset", "accuracy", "epochs", "finished"}``, ``epochs``
    being their number.
    """
    query: dict[str, Any] = {"state": str(State.COMPLETED)}
    if labels is not None:
        query["labels"] = labels
    fields = ("key", "labels", "fold", "dataset", "accuracy", "finished", "epochs")
    found = stores.training_runs.find(query, {"_id": False, **dict.fromkeys(fields, True)})
    return [{**entry, "epochs": len(entry["epochs"])} for entry in found.sort("accuracy", -1)]


def find(
    stores: Stores,
    collection: str,
    criteria: dict[str, Any],
    *,
    fields: Iterable[str] = (),
    limit: int = 20,
) -> list[dict[str, Any]]:
    """Documents of one of the project's collections that satisfy free criteria.

    Parameters
    ----------
    stores : open stores.
    collection : name, such as ``simulations``.
    criteria : MongoDB query; one that starts from an indexed field (:mod:`stores.indexes`) is
        answered at once.
    fields : wanted; none wants all.
    limit : at most so many.

    Raises
    ------
    KeyError
        If there is no such collection.
    pymongo.errors.OperationFailure
        If the database refuses the criteria.
    """
    from stores.documents import DOCUMENTS

    names = [kind.collection for kind in DOCUMENTS]
    if collection not in names:
        raise KeyError(f"no collection {collection!r}; there are: {', '.join(names)}")
    projection = {**_NO_ID, **dict.fromkeys(fields, True)}
    return list(stores.database[collection].find(criteria, projection).limit(limit))


def _every_state() -> list[str]:
    """All states: a match on them lets a count run over the index instead of the documents."""
    return sorted(str(state) for state in State)


def _batches(keys: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for key in keys:
        batch.append(key)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _of_material(
    parts: Iterable[dict[str, Any]], material_id: str, fields: Iterable[str]
) -> Iterator[dict[str, Any]]:
    """The wanted fields of those parts of a document that are about a structure."""
    for part in parts:
        if part["material_id"] == material_id:
            yield {field: part[field] for field in fields}
