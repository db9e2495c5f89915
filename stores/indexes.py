"""The indexes of every collection, by name.

Every query in :mod:`stores.queries` and every write in :mod:`stores.runs` starts from the first
field of one of these; a test holds them to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pymongo.collection import Collection
    from pymongo.database import Database

INDEX_NOT_FOUND = 27  # MongoDB's code

INDEXES: dict[str, dict[str, list[tuple[str, int]]]] = {
    "source_structures": {
        "key_unique": [("key", 1)],
        "material": [("material_id", 1)],
        "source": [("source.kind", 1), ("space_group", 1)],
        "last_updated": [("last_updated", 1)],
    },
    "imports": {
        "key_unique": [("key", 1)],
        "query": [("query_hash", 1), ("created", -1)],
        "state": [("state", 1)],
    },
    "structures": {
        "key_unique": [("key", 1)],
        "crystal": [("crystal_hash", 1)],
        "formula": [("formula", 1)],
        "groups": [("space_group.number", 1), ("relabel.number", 1)],
        "sensitive": [("relabel.sensitive", 1)],
        "last_updated": [("last_updated", 1)],
    },
    "unusable_structures": {
        "key_unique": [("key", 1)],
        "kind": [("kind", 1)],
    },
    "simulations": {
        "key_unique": [("key", 1)],
        "state_stage": [("state", 1), ("stage", 1)],
        "state_energies": [("state", 1), ("energies_done", -1)],
        "material": [("material_id", 1)],
        "groups": [("space_group", 1), ("state", 1)],
        "relabelled_groups": [("relabelled", 1), ("state", 1)],
        "last_updated": [("last_updated", 1)],
    },
    "runs": {
        "key_unique": [("key", 1)],
        "simulation": [("simulation", 1), ("attempt", 1)],
        "material": [("material_id", 1)],
        "state_heartbeat": [("state", 1), ("heartbeat", 1)],
        "state_wall": [("state", 1), ("wall_seconds", -1)],
        "state_finished": [("state", 1), ("finished", -1)],
        "failure": [("failure.code", 1), ("failure.name", 1), ("finished", -1)],
        "host": [("owner.host", 1), ("started", -1)],
        "firework": [("fw_id", 1), ("started", -1)],
    },
    "master_patterns": {
        "key_unique": [("key", 1)],
        "material": [("material_id", 1)],
        "file": [("file.sha256", 1)],
    },
    "datasets": {
        "key_unique": [("key", 1)],
        "member": [("members.material_id", 1)],
    },
    "experimental_patterns": {
        "key_unique": [("key", 1)],
        "phase": [("phases.space_group", 1), ("phases.name", 1)],
        "source": [("sources.sha256", 1)],
    },
    "training_runs": {
        "key_unique": [("key", 1)],
        "dataset": [("dataset", 1), ("labels", 1)],
        "state": [("state", 1), ("accuracy", -1)],
        "parent": [("parent", 1)],
        "phase": [("per_phase.material_id", 1)],
        "adaptation": [("adaptation.target", 1), ("adaptation.method", 1)],
    },
    "ensembles": {
        "key_unique": [("key", 1)],
        "member": [("members", 1)],
    },
    "predictions": {
        "key_unique": [("key", 1)],
        "training_run": [("training_run", 1)],
    },
    "campaigns": {
        "key_unique": [("key", 1)],
        "member": [("structures", 1)],
    },
    "members": {
        "key_unique": [("key", 1)],
        "campaign_outcome": [("campaign", 1), ("current", 1), ("outcome", 1)],
        "member": [("member", 1)],
        "material": [("material_id", 1)],
        "simulation": [("simulation", 1)],
    },
    "outputs": {
        "uuid_index": [("uuid", 1), ("index", -1)],
        "name": [("name", 1)],
    },
    "data.files": {
        "blob": [("metadata.blob_uuid", 1)],
        "job": [("metadata.job_uuid", 1)],
    },
}
"""Collection to index name to keys; names ending in ``_unique`` are unique.

``outputs`` and ``data`` are jobflow's documents and its additional store.
"""


def create_indexes(database: Database[dict[str, Any]]) -> None:
    """Create all indexes that are missing, and anew those that an earlier version made otherwise.

    Does nothing to indexes that are as they should be, or that have names of their own.

    Raises
    ------
    pymongo.errors.OperationFailure
        If the user may not create indexes, or a unique one has duplicates against it.
    """
    from pymongo import IndexModel

    for name, indexes in INDEXES.items():
        collection = database[name]
        _drop_outdated(collection, indexes)
        collection.create_indexes(
            [
                IndexModel(keys, name=index, unique=index.endswith("_unique"))
                for index, keys in indexes.items()
            ]
        )


def _drop_outdated(
    collection: Collection[dict[str, Any]], indexes: dict[str, list[tuple[str, int]]]
) -> None:
    """Drop indexes that bear one of our names but have other keys: their definition has changed."""
    from pymongo.errors import OperationFailure

    for name, present in collection.index_information().items():
        if name in indexes and [(key, int(way)) for key, way in present["key"]] != indexes[name]:
            try:
                collection.drop_index(name)
            except OperationFailure as error:
                if error.code != INDEX_NOT_FOUND:  # another client was first
                    raise
