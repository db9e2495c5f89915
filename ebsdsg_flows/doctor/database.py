"""The database: reachable, writable, with all indexes, its clock ours, its work alive."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.doctor.findings import Finding

if TYPE_CHECKING:
    from pymongo.database import Database

    from ebsdsg_flows.settings import Settings

PATIENCE = 5.0
CLOCKS_APART = timedelta(seconds=30)


def check_database(settings: Settings) -> Iterator[Finding]:
    """The database of the settings answers and takes documents.

    Nothing is started and no index is made, so that what is wrong stays to be seen.
    """
    from pymongo import MongoClient
    from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError

    from ebsdsg_flows.settings import SettingsError
    from stores.collections import client_options
    from stores.embedded import status
    from stores.mongo_uri import check_escaped
    from stores.redact import driver_words, redact_uri, redacted_warnings

    try:
        uri = settings.database_uri
    except SettingsError as error:
        yield Finding("database", "fault", str(error), "correct the settings mongo_...")
        return
    if uri is None:
        running = status(settings.root)
        if running is None:
            yield from _not_running(settings)
            return
        uri = running.uri
    where = redact_uri(uri).split("?")[0]
    try:
        check_escaped(uri)
        with redacted_warnings(uri):
            opened = MongoClient[dict[str, Any]](uri, **client_options(PATIENCE))
        with opened as client:
            yield from _look(client[settings.database], where)
    except ConnectionFailure as error:
        reason = driver_words(error, uri).split(", Timeout:")[0]
        yield Finding(
            "database",
            "fault",
            f"nothing answers at {where}: {reason[:300]}",
            "check address, network and TLS files (docs: Use a MongoDB server), or unset "
            "EBSDSG_MONGO_URI to use the embedded database",
        )
    except OperationFailure as error:
        yield Finding(
            "database",
            "fault",
            f"{where} refuses (code {error.code}): {driver_words(error, uri)[:300]}",
            "check user and password, and that the user may read and write the database "
            f"{settings.database!r}",
        )
    except (PyMongoError, ValueError, OSError) as error:
        text = f"the address cannot be used: {driver_words(error, uri)[:300]}"
        yield Finding("database", "fault", text, "correct the settings mongo_...")


def _not_running(settings: Settings) -> Iterator[Finding]:
    """What is to be said of an embedded database that does not answer."""
    import platform

    from stores.embedded.places import Places, read_state

    state = read_state(Places.of(settings.root))
    if state is not None and state["host"] not in (None, platform.node()):
        yield Finding(
            "database",
            "fault",
            f"the embedded database of {settings.root} runs on {state['host']}",
            "work there, or set EBSDSG_MONGO_URI to a MongoDB server for several machines",
        )
        return
    text = f"the embedded database of {settings.root} does not run; commands start it"
    yield Finding("database", "ok", text)


def _look(database: Database[dict[str, Any]], where: str) -> Iterator[Finding]:
    hello = database.client.admin.command("hello")
    probe = database["leases"]
    probe.update_one({"_id": "doctor"}, {"$set": {"until": datetime.now(UTC)}}, upsert=True)
    probe.delete_one({"_id": "doctor"})
    yield Finding("database", "ok", f"{where} answers and can be written to")
    clock = hello.get("localTime")
    if isinstance(clock, datetime):
        apart = abs(datetime.now(UTC) - clock.replace(tzinfo=clock.tzinfo or UTC))
        if apart > CLOCKS_APART:
            yield Finding(
                "database",
                "fault",
                f"its clock and this machine's are {apart.total_seconds():.0f} s apart",
                "run NTP on both: living workers would be taken for dead",
            )
    yield from _indexes(database)
    yield from _silent_runs(database)


def _indexes(database: Database[dict[str, Any]]) -> Iterator[Finding]:
    from stores.indexes import INDEXES

    there = set(database.list_collection_names())
    if not there & set(INDEXES):
        yield Finding("indexes", "ok", "the database is empty; the first command makes them")
        return
    missing, other = [], []
    for collection, indexes in INDEXES.items():
        found = database[collection].index_information() if collection in there else {}
        missing += [f"{collection}.{name}" for name in indexes if name not in found]
        other += [
            f"{collection}.{name}"
            for name, keys in indexes.items()
            if name in found and list(found[name]["key"]) != list(keys)
        ]
    if missing:
        text = f"{len(missing)} missing: {', '.join(missing[:5])}"
        yield Finding("indexes", "fault", text, "`ebsdsg db status` makes them")
    if other:
        text = f"made for other fields by another version: {', '.join(other[:5])}"
        mend = "drop them in mongosh (db.collection.dropIndex), then `ebsdsg db status`"
        yield Finding("indexes", "fault", text, mend)
    if not missing and not other:
        yield Finding("indexes", "ok", f"{sum(map(len, INDEXES.values()))} in place")


def _silent_runs(database: Database[dict[str, Any]]) -> Iterator[Finding]:
    from stores.janitor import STALE

    silent = {"state": "running", "heartbeat": {"$lt": datetime.now(UTC) - STALE}}
    count = database["runs"].count_documents(silent)
    if count:
        text = f"{count} runs give no sign of life any more"
        yield Finding("work", "warning", text, "`ebsdsg janitor`, or let it run as a service")
