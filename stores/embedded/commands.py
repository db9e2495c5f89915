"""The command table: which commands exist, which options they take, and how refusals look.

Nothing is ignored quietly: a command that is not in the table is answered with CommandNotFound
(59), an option that is not listed with an unknown-field error (40415).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import administration, reading, writing
from .arguments import check_fields
from .clock import start_command
from .errors import DatabaseError, not_implemented, unforeseen

if TYPE_CHECKING:
    from .engine import Engine

Handler = Callable[["Engine", dict[str, Any]], dict[str, Any]]

# Fields drivers may add to any command. maxTimeMS is accepted: commands take fractions of a second.
_GENERIC = {
    "$db", "$readPreference", "$clusterTime", "$address", "lsid", "txnNumber", "comment",
    "maxTimeMS", "readConcern", "writeConcern", "apiVersion", "apiStrict", "apiDeprecationErrors",
}  # fmt: skip


@dataclass(frozen=True)
class CommandEntry:
    """One command.

    Attributes
    ----------
    handler : carries it out
    options : its own fields beside its name; None if any are accepted
    retryable : may come with a transaction number to be applied once only
    """

    handler: Handler
    options: frozenset[str] | None
    retryable: bool = False


def _entry(handler: Handler, options: str | None = "", *, retryable: bool = False) -> CommandEntry:
    return CommandEntry(handler, None if options is None else frozenset(options.split()), retryable)


COMMANDS: dict[str, CommandEntry] = {
    "hello": _entry(administration.hello, None),
    "isMaster": _entry(administration.hello, None),
    "ping": _entry(administration.ping),
    "buildInfo": _entry(administration.build_info),
    "serverStatus": _entry(administration.server_status, None),
    "hostInfo": _entry(administration.host_info),
    "getParameter": _entry(administration.get_parameter, None),
    "connectionStatus": _entry(administration.connection_status, "showPrivileges"),
    "startSession": _entry(administration.start_session),
    "refreshSessions": _entry(administration.start_session),
    "endSessions": _entry(administration.end_sessions),
    "killSessions": _entry(administration.end_sessions),
    "commitTransaction": _entry(administration.refuse_transaction, None),
    "abortTransaction": _entry(administration.refuse_transaction, None),
    "insert": _entry(writing.insert, "documents ordered bypassDocumentValidation", retryable=True),
    "update": _entry(writing.update, "updates ordered bypassDocumentValidation", retryable=True),
    "delete": _entry(writing.delete, "deletes ordered", retryable=True),
    "findAndModify": _entry(
        writing.find_and_modify,
        "query sort remove update new fields upsert arrayFilters hint collation "
        "bypassDocumentValidation",
        retryable=True,
    ),
    "find": _entry(
        reading.find,
        "filter sort projection hint skip limit batchSize singleBatch noCursorTimeout collation "
        "allowDiskUse let tailable awaitData returnKey showRecordId allowPartialResults",
    ),
    "getMore": _entry(reading.get_more, "collection batchSize"),
    "killCursors": _entry(reading.kill_cursors, "cursors"),
    "aggregate": _entry(
        reading.aggregate,
        "pipeline cursor allowDiskUse hint let collation explain bypassDocumentValidation",
    ),
    "count": _entry(reading.count, "query limit skip hint collation fields"),
    "distinct": _entry(reading.distinct, "key query hint collation"),
    "explain": _entry(reading.explain, "verbosity"),
    "create": _entry(
        administration.create,
        "capped size max viewOn pipeline validator validationLevel validationAction timeseries "
        "clusteredIndex",
    ),
    "drop": _entry(administration.drop),
    "dropDatabase": _entry(administration.drop_database),
    "renameCollection": _entry(administration.rename_collection, "to dropTarget"),
    "createIndexes": _entry(administration.create_indexes, "indexes commitQuorum"),
    "listIndexes": _entry(administration.list_indexes, "cursor"),
    "dropIndexes": _entry(administration.drop_indexes, "index"),
    "listCollections": _entry(
        administration.list_collections, "filter nameOnly authorizedCollections cursor"
    ),
    "listDatabases": _entry(administration.list_databases, "filter nameOnly authorizedDatabases"),
    "dbStats": _entry(administration.database_stats, "scale freeStorage"),
    "collStats": _entry(administration.collection_stats, "scale"),
}
"""Every command the server knows, by MongoDB's spelling."""

_ALIASES = {
    "ismaster": "isMaster",
    "buildinfo": "buildInfo",
    "findandmodify": "findAndModify",
    "dbstats": "dbStats",
    "collstats": "collStats",
}


def execute(engine: Engine, command: dict[str, Any], address: str) -> dict[str, Any]:
    """Reply to one command; every failure becomes a reply, none escapes.

    Parameters
    ----------
    engine : the server's databases
    command : as received, with ``$db``
    address : where the client reached the server, for ``hello``
    """
    name = next(iter(command))
    start_command()
    try:
        return {**_execute(engine, command, address, name), "ok": 1.0}
    except DatabaseError as error:
        return error.reply
    except Exception as error:
        return unforeseen(name, error).reply


def _execute(engine: Engine, command: dict[str, Any], address: str, name: str) -> dict[str, Any]:
    entry = COMMANDS.get(_ALIASES.get(name, name))
    if entry is None:
        raise DatabaseError(59, f"no such command: '{name}'")
    if command.get("startTransaction") or "autocommit" in command:
        raise not_implemented("a transaction over several commands")
    if entry.options is not None:
        check_fields(name, command, {name} | entry.options | _GENERIC)
    if (command.get("readConcern") or {}).get("level") == "snapshot":
        raise not_implemented("read concern 'snapshot'")
    durable = _check_write_concern(command.get("writeConcern") or {})
    retry = None
    if entry.retryable and "txnNumber" in command:
        retry = (bytes(command["lsid"]["id"]), int(command["txnNumber"]))
    command = {**command, "$address": address}
    command.setdefault("$db", "test")
    return engine.run(lambda: entry.handler(engine, command), retry, durable)


def _check_write_concern(concern: dict[str, Any]) -> bool:
    """True if the client wants its write on the disk before the acknowledgement."""
    nodes = concern.get("w", 1)
    if isinstance(nodes, int) and nodes > 1:
        raise DatabaseError(100, f"w: {nodes} needs {nodes} members; the embedded server is one")
    if isinstance(nodes, str) and nodes != "majority":
        raise DatabaseError(100, f"unknown write concern {nodes!r}")
    return bool(concern.get("j")) or nodes == "majority"
