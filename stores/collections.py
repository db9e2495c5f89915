"""The collections of an open database, and what other libraries need to work on them.

:class:`Stores` holds one pymongo collection for each kind of document, reads and writes documents,
and makes maggma stores, jobflow's ``JobStore`` and FireWorks' ``LaunchPad`` on the same database.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from stores.documents import DOCUMENTS, Document
from stores.redact import redact_uri
from stores.states import StateError, now

if TYPE_CHECKING:
    from fireworks import LaunchPad
    from jobflow import JobStore
    from pymongo import MongoClient
    from pymongo.collection import Collection
    from pymongo.database import Database

    from stores.maggma_stores import URIStore

OUTPUTS = "outputs"
BLOBS = "data"

D = TypeVar("D", bound=Document)


def client_options(timeout: float) -> dict[str, Any]:
    """Options with which every client of this project is made."""
    milliseconds = max(1, round(timeout * 1000))
    return {
        "serverSelectionTimeoutMS": milliseconds,
        "connectTimeoutMS": milliseconds,
        "appname": "ebsdsg",
        "tz_aware": True,
        "retryWrites": True,
        "retryReads": True,
    }


class Stores:
    """An open connection: collections, stores, job store and launch pad of one database.

    Made by :func:`stores.connect.connect`; a context manager that closes itself.

    Attributes
    ----------
    client : the pymongo client.
    database : the pymongo database.
    root : data root of the embedded server, ``None`` with any other server.
    source_structures, imports, structures, unusable_structures, simulations, runs,
    master_patterns, datasets, experimental_patterns, training_runs, ensembles, predictions,
    campaigns, members : pymongo collections.
    """

    def __init__(
        self,
        client: MongoClient[dict[str, Any]],
        uri: str,
        database: str,
        *,
        timeout: float = 5.0,
        root: Path | None = None,
    ) -> None:
        self.client = client
        self.database: Database[dict[str, Any]] = client[database]
        self.root = root
        self._uri = uri
        self._timeout = timeout
        self._maggma: dict[str, URIStore] = {}
        self.source_structures = self.database["source_structures"]
        self.imports = self.database["imports"]
        self.structures = self.database["structures"]
        self.unusable_structures = self.database["unusable_structures"]
        self.simulations = self.database["simulations"]
        self.runs = self.database["runs"]
        self.master_patterns = self.database["master_patterns"]
        self.datasets = self.database["datasets"]
        self.experimental_patterns = self.database["experimental_patterns"]
        self.training_runs = self.database["training_runs"]
        self.ensembles = self.database["ensembles"]
        self.predictions = self.database["predictions"]
        self.campaigns = self.database["campaigns"]
        self.members = self.database["members"]

    def __repr__(self) -> str:
        return f"Stores({redact_uri(self._uri)}, database={self.database.name})"

    def __str__(self) -> str:
        where = f"embedded in {self.root}" if self.root else f"at {redact_uri(self._uri)}"
        return f"database {self.database.name} {where}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(
            "a connection cannot be pickled (it would carry the password along): "
            "call stores.connect.connect() where it is needed"
        )

    def close(self) -> None:
        """Close all connections; the embedded server goes on running."""
        for store in self._maggma.values():
            store.close()
        self._maggma.clear()
        self.client.close()

    def secret_uri(self) -> str:
        """The URI with its password, for handing to another client; never log or store it."""
        return self._uri

    # -- documents ---------------------------------------------------------------------------

    def collection(self, kind: type[Document]) -> Collection[dict[str, Any]]:
        """Collection of a kind of document."""
        return self.database[kind.collection]

    def get(self, kind: type[D], key: str) -> D | None:
        """Document of a kind by its key, ``None`` if there is none.

        Raises
        ------
        stores.documents.DocumentError
            If what is stored does not follow the schema.
        """
        found = self.collection(kind).find_one({"key": key}, {"_id": False})
        return None if found is None else kind.from_mongo(found)

    def add(self, document: Document) -> bool:
        """Insert a document unless its key exists; existing documents are left as they are.

        Returns
        -------
        Whether it was inserted.
        """
        return self.add_many([document]) == 1

    def add_many(self, documents: Iterable[Document], *, batch: int = 1000) -> int:
        """Insert those documents whose keys do not exist yet, many at a time.

        Returns
        -------
        Number inserted.  Several processes may add the same documents at once; each is inserted by
        exactly one of them.
        """
        from pymongo import UpdateOne
        from pymongo.errors import BulkWriteError

        pending: dict[str, list[UpdateOne]] = {}
        inserted = 0

        def flush(name: str) -> int:
            operations = pending.pop(name, [])
            if not operations:
                return 0
            try:
                return self.database[name].bulk_write(operations, ordered=False).upserted_count
            except BulkWriteError as error:
                # 11000: another process inserted the same key between match and insert
                if any(e.get("code") != 11000 for e in error.details["writeErrors"]):
                    raise
                return int(error.details["nUpserted"])

        for document in documents:
            name = document.collection
            pending.setdefault(name, []).append(
                UpdateOne({"key": document.key}, {"$setOnInsert": document.to_mongo()}, upsert=True)
            )
            if len(pending[name]) >= batch:
                inserted += flush(name)
        return inserted + sum(flush(name) for name in list(pending))

    def save(self, document: Document) -> None:
        """Write a document as it is, replacing one of the same key; ``last_updated`` becomes now.

        The time of creation of a document that exists is kept.  Not for changing states: that is
        :func:`stores.states.transition`'s.

        Raises
        ------
        stores.states.StateError
            If the document exists with another state.
        """
        from pymongo.errors import DuplicateKeyError

        values = {**document.to_mongo(), "last_updated": now()}
        created = values.pop("created")
        match: dict[str, Any] = {"key": document.key}
        if "state" in values:
            match["state"] = values["state"]
        try:
            self.collection(type(document)).update_one(
                match, {"$set": values, "$setOnInsert": {"created": created}}, upsert=True
            )
        except DuplicateKeyError:
            raise StateError(
                f"{document!r} has another state in the database: states are changed by "
                "stores.states.transition, not by saving"
            ) from None

    # -- other libraries' stores -------------------------------------------------------------

    def store(self, collection: str) -> URIStore:
        """Store of maggma for a collection, keyed by ``key`` and connected; made once.

        Raises
        ------
        KeyError
            If there is no such kind of document.
        """
        if collection not in {kind.collection for kind in DOCUMENTS}:
            raise KeyError(
                f"no collection {collection!r}; there are "
                + ", ".join(kind.collection for kind in DOCUMENTS)
            )
        if collection not in self._maggma:
            from stores.maggma_stores import URIStore

            store = URIStore(
                self.database.name,
                collection,
                uri=self._uri,
                key="key",
                mongoclient_kwargs={**client_options(self._timeout), "tz_aware": False},
            )
            store.connect()
            self._maggma[collection] = store
        return self._maggma[collection]

    def jobstore(self) -> JobStore:
        """Store for jobflow: documents in ``outputs``, large data in the GridFS bucket ``data``."""
        from jobflow import JobStore

        from stores.maggma_stores import URIGridFSStore, URIStore

        options = {**client_options(self._timeout), "tz_aware": False}
        return JobStore(
            URIStore(self.database.name, OUTPUTS, uri=self._uri, mongoclient_kwargs=options),
            additional_stores={
                "data": URIGridFSStore(
                    self.database.name, BLOBS, uri=self._uri, mongoclient_kwargs=options
                )
            },
        )

    def jobstore_spec(self) -> dict[str, Any]:
        """The same as :meth:`jobstore`, as the ``JOB_STORE`` of a jobflow configuration file.

        It holds the URI with its password: write it with mode 0600 only.
        """
        common = {"database": self.database.name, "uri": self._uri}
        return {
            "docs_store": {"type": "MongoStore", "collection_name": OUTPUTS, **common},
            "additional_stores": {
                "data": {"type": "GridFSStore", "collection_name": BLOBS, **common}
            },
        }

    def launchpad(self, **options: Any) -> LaunchPad:
        """FireWorks' LaunchPad on the same database.

        Parameters
        ----------
        **options : passed to ``LaunchPad``, such as ``strm_lvl`` or ``logdir``.
        """
        from fireworks import LaunchPad

        return LaunchPad(
            host=self._uri,
            name=self.database.name,
            uri_mode=True,
            mongoclient_kwargs={**client_options(self._timeout), "tz_aware": False},
            **options,
        )
