"""Commands about the server, its databases, collections and indexes."""

from __future__ import annotations

import datetime as dt
import os
import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .arguments import Command, Reply, namespace_of
from .engine import SESSION_MINUTES
from .errors import DatabaseError, not_implemented
from .expiry import check_expiry
from .indexes import parse_definition
from .matching import compile_filter
from .wire import MAX_DOCUMENT, MAX_MESSAGE, MAX_WRITE_BATCH

if TYPE_CHECKING:
    from .engine import Engine

VERSION = (7, 0, 0)
WIRE_VERSION = 21
REPLICA_SET = "ebsdsg-embedded"
"""Name of the replica set of one member that the server presents itself as."""


def hello(engine: Engine, command: Command) -> Reply:
    """The ``hello`` command and its older spellings.

    The server presents itself as the primary of a replica set with one member, because drivers
    send retryable writes only to those, and a retried write is what carries a client over a
    restart of the server.
    """
    address = command["$address"]
    now = dt.datetime.now(dt.UTC)
    return {
        "helloOk": True,
        "ismaster": True,
        "isWritablePrimary": True,
        "secondary": False,
        "setName": REPLICA_SET,
        "setVersion": 1,
        "hosts": [address],
        "primary": address,
        "me": address,
        "lastWrite": {"lastWriteDate": now},
        "maxBsonObjectSize": MAX_DOCUMENT,
        "maxMessageSizeBytes": MAX_MESSAGE,
        "maxWriteBatchSize": MAX_WRITE_BATCH,
        "localTime": now,
        "logicalSessionTimeoutMinutes": SESSION_MINUTES,
        "minWireVersion": 0,
        "maxWireVersion": WIRE_VERSION,
        "readOnly": False,
    }


def ping(engine: Engine, command: Command) -> Reply:
    """The ``ping`` command."""
    return {}


def build_info(engine: Engine, command: Command) -> Reply:
    """The ``buildInfo`` command: the MongoDB version whose behaviour this server follows."""
    return {
        "version": ".".join(map(str, VERSION)),
        "versionArray": [*VERSION, 0],
        "gitVersion": "",
        "modules": ["ebsdsg-embedded"],
        "bits": 64,
        "maxBsonObjectSize": MAX_DOCUMENT,
    }


def server_status(engine: Engine, command: Command) -> Reply:
    """The ``serverStatus`` command; ``root`` and ``pid`` identify the server of a data root."""
    return {
        **engine.description,
        "host": platform.node(),
        "version": ".".join(map(str, VERSION)),
        "process": "ebsdsg-embedded",
        "pid": os.getpid(),
        "root": str(engine.journal.path.parent.parent),
        "collections": len(engine.collections),
        "documents": sum(map(len, engine.collections.values())),
        "cursors": len(engine.cursors),
        "localTime": dt.datetime.now(dt.UTC),
    }


def host_info(engine: Engine, command: Command) -> Reply:
    """The ``hostInfo`` command."""
    return {
        "system": {"hostname": platform.node(), "numCores": os.cpu_count()},
        "os": {"type": platform.system(), "version": platform.release()},
    }


def get_parameter(engine: Engine, command: Command) -> Reply:
    """The ``getParameter`` command, for the one parameter there is."""
    if "featureCompatibilityVersion" in command:
        return {"featureCompatibilityVersion": {"version": f"{VERSION[0]}.{VERSION[1]}"}}
    raise DatabaseError(72, "no option found to get")


def connection_status(engine: Engine, command: Command) -> Reply:
    """The ``connectionStatus`` command: there are no users."""
    return {"authInfo": {"authenticatedUsers": [], "authenticatedUserRoles": []}}


def start_session(engine: Engine, command: Command) -> Reply:
    """The ``startSession`` and ``refreshSessions`` commands."""
    return {"timeoutMinutes": SESSION_MINUTES}


def end_sessions(engine: Engine, command: Command) -> Reply:
    """The ``endSessions`` and ``killSessions`` commands."""
    engine.end_sessions([bytes(s["id"]) for s in command[next(iter(command))] if "id" in s])
    return {}


def refuse_transaction(engine: Engine, command: Command) -> Reply:
    """Refuse ``commitTransaction`` and ``abortTransaction``."""
    raise not_implemented("a transaction over several commands")


def create(engine: Engine, command: Command) -> Reply:
    """The ``create`` command."""
    namespace = namespace_of(command, "create")
    if namespace in engine.collections:
        raise DatabaseError(48, f"Collection {namespace} already exists.")
    for option in ("capped", "viewOn", "validator", "timeseries", "clusteredIndex"):
        if command.get(option):
            raise not_implemented(f"a collection with {option}")
    engine.create(namespace)
    return {}


def drop(engine: Engine, command: Command) -> Reply:
    """The ``drop`` command; dropping what is not there succeeds, as in MongoDB 7."""
    namespace = namespace_of(command, "drop")
    if namespace not in engine.collections:
        return {}
    count = len(engine.collections[namespace].indexes) + 1
    engine.drop(namespace)
    return {"ns": namespace, "nIndexesWas": count}


def drop_database(engine: Engine, command: Command) -> Reply:
    """The ``dropDatabase`` command."""
    for name in engine.names(command["$db"]):
        engine.drop(f"{command['$db']}.{name}")
    return {"dropped": command["$db"]}


def rename_collection(engine: Engine, command: Command) -> Reply:
    """The ``renameCollection`` command."""
    source, target = command["renameCollection"], command["to"]
    if not isinstance(target, str):
        raise DatabaseError(73, f"the new name must be a string, not {target!r}")
    if source not in engine.collections:
        raise DatabaseError(26, f"Source collection {source} does not exist")
    if source == target:
        raise DatabaseError(20, "Can't rename a collection to itself")
    if target in engine.collections:
        if not command.get("dropTarget"):
            raise DatabaseError(48, "target namespace exists")
        engine.drop(target)
    engine.rename(source, target)
    return {}


def create_indexes(engine: Engine, command: Command) -> Reply:
    """The ``createIndexes`` command: all of them or none."""
    namespace = namespace_of(command, "createIndexes")
    definitions = [parse_definition(document) for document in command["indexes"]]
    for definition in definitions:
        check_expiry(definition)
    existed = namespace in engine.collections
    collection = engine.writable(namespace)
    before = len(collection.indexes) + 1
    for definition in definitions:
        engine.create_index(collection, definition)
    return {
        "numIndexesBefore": before,
        "numIndexesAfter": len(collection.indexes) + 1,
        "createdCollectionAutomatically": not existed,
    }


def list_indexes(engine: Engine, command: Command) -> Reply:
    """The ``listIndexes`` command."""
    namespace = namespace_of(command, "listIndexes")
    if namespace not in engine.collections:
        raise DatabaseError(26, f"ns does not exist: {namespace}")
    indexes = engine.collections[namespace].indexes.values()
    documents = [
        {"v": 2, "key": {"_id": 1}, "name": "_id_"},
        *(index.to_document() for index in indexes),
    ]
    return engine.cursors.reply(
        namespace, documents, (command.get("cursor") or {}).get("batchSize")
    )


def drop_indexes(engine: Engine, command: Command) -> Reply:
    """The ``dropIndexes`` command."""
    namespace = namespace_of(command, "dropIndexes")
    if namespace not in engine.collections:
        raise DatabaseError(26, f"ns not found {namespace}")
    collection = engine.writable(namespace)
    before = len(collection.indexes) + 1
    wanted = command["index"]
    if wanted == "*":
        names = list(collection.indexes)
    elif isinstance(wanted, Mapping):
        key = list(wanted.items())
        names = [i.name for i in collection.indexes.values() if list(i.key.items()) == key]
        if not names:
            raise DatabaseError(27, f"can't find index with key: {dict(wanted)!r}")
    else:
        names = wanted if isinstance(wanted, list) else [wanted]
    for name in names:
        engine.drop_index(collection, name)
    return {"nIndexesWas": before}


def list_collections(engine: Engine, command: Command) -> Reply:
    """The ``listCollections`` command."""
    test = compile_filter(command.get("filter") or {})
    documents = [
        {
            "name": name,
            "type": "collection",
            "options": {},
            "info": {"readOnly": False},
            "idIndex": {"v": 2, "key": {"_id": 1}, "name": "_id_"},
        }
        for name in engine.names(command["$db"])
    ]
    return engine.cursors.reply(
        f"{command['$db']}.$cmd.listCollections",
        [document for document in documents if test(document)],
        (command.get("cursor") or {}).get("batchSize"),
    )


def list_databases(engine: Engine, command: Command) -> Reply:
    """The ``listDatabases`` command."""
    test = compile_filter(command.get("filter") or {})
    documents = [
        {"name": name, "sizeOnDisk": _bytes(engine), "empty": False} for name in engine.databases()
    ]
    return {"databases": [d for d in documents if test(d)], "totalSize": _bytes(engine)}


def _bytes(engine: Engine) -> int:
    return engine.journal.path.stat().st_size


def database_stats(engine: Engine, command: Command) -> Reply:
    """The ``dbStats`` command; all databases share one file, whose size is ``storageSize``."""
    names = engine.names(command["$db"])
    collections = [engine.collections[f"{command['$db']}.{name}"] for name in names]
    return {
        "db": command["$db"],
        "collections": len(collections),
        "objects": sum(map(len, collections)),
        "indexes": sum(len(collection.indexes) + 1 for collection in collections),
        "storageSize": _bytes(engine),
    }


def collection_stats(engine: Engine, command: Command) -> Reply:
    """The ``collStats`` command."""
    collection = engine.get(namespace_of(command, next(iter(command))))
    return {
        "ns": collection.namespace,
        "count": len(collection),
        "nindexes": len(collection.indexes) + 1,
    }
