"""What stands where: counts for a terminal, and free queries of the database."""

from __future__ import annotations

import json
import sys
import time
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.overview import overview
from stores.queries import counts, find

if TYPE_CHECKING:
    from rich.console import Console, Group

    from stores.collections import Stores

FIREWORK_STATES = (
    "READY", "WAITING", "RESERVED", "RUNNING", "COMPLETED", "FIZZLED", "PAUSED", "DEFUSED",
)  # fmt: skip
STATES = ("waiting", "running", "completed", "failed", "timed_out", "lost", "unusable")
SKIPPED_SHOWN = 10


class QueryError(ValueError):
    """A query from the command line is not usable; the message says why."""


def simulation_counts(stores: Stores, keys: list[str]) -> dict[str, int]:
    """Number of simulations by state, whatever their stage.

    Parameters
    ----------
    stores : open database.
    keys : the simulations to count.
    """
    totals: dict[str, int] = {}
    for found in counts(stores, simulations=keys):
        totals[found["state"]] = totals.get(found["state"], 0) + found["count"]
    return totals


def firework_counts(stores: Stores) -> dict[str, int]:
    """Number of fireworks by state."""
    fireworks = stores.database["fireworks"]
    found = {state: fireworks.count_documents({"state": state}) for state in FIREWORK_STATES}
    return {state: count for state, count in found.items() if count}


def status_documents(stores: Stores, campaign: str | None) -> list[dict[str, Any]]:
    """Overview of one campaign or of all.

    Raises
    ------
    QueryError
        If there is no campaign of that name.
    """
    found = list(stores.campaigns.find({"key": campaign} if campaign else {}).sort("key", 1))
    if campaign and not found:
        names = ", ".join(sorted(stores.campaigns.distinct("key"))) or "none"
        raise QueryError(f"no campaign {campaign!r} in this database; there are: {names}")
    return [overview(stores, entry) for entry in found]


def print_status(
    stores: Stores, campaign: str | None, *, as_json: bool = False, watch: float | None = None
) -> None:
    """Print what stands where.

    Parameters
    ----------
    stores : open database.
    campaign : name; ``None`` is all.
    as_json : one JSON object per campaign instead of tables.
    watch : seconds after which it is shown again, until Ctrl-C; ``None`` shows it once.

    Raises
    ------
    QueryError
        If there is no campaign of that name.
    """
    from rich.console import Console

    console = Console()
    if watch is not None:
        _watch(stores, campaign, console, watch, as_json=as_json)
    elif as_json:
        _print_json(stores, campaign)
    else:
        console.print(_drawn(stores, campaign))


def _print_json(stores: Stores, campaign: str | None) -> None:
    for document in status_documents(stores, campaign):
        print(json.dumps(document, default=str), flush=True)


def _watch(
    stores: Stores, campaign: str | None, console: Console, every: float, *, as_json: bool
) -> None:
    """Show it again and again until Ctrl-C; a database that is away for a while is waited for."""
    from pymongo.errors import PyMongoError
    from rich.live import Live
    from rich.text import Text

    from stores.redact import redact

    with suppress(KeyboardInterrupt):
        first = None if as_json else _drawn(stores, campaign)
        with Live(first, console=console, auto_refresh=False) if first else nullcontext() as live:
            while True:
                try:
                    if live is None:
                        _print_json(stores, campaign)
                    else:
                        live.update(_drawn(stores, campaign), refresh=True)
                except PyMongoError as error:
                    reason = redact(error, stores.secret_uri())
                    text = f"the database cannot be used at present: {reason}"
                    if live is None:
                        print(text, file=sys.stderr)
                    else:
                        live.update(Text(text), refresh=True)
                time.sleep(every)


def _drawn(stores: Stores, campaign: str | None) -> Group:
    """Tables and lines for a terminal."""
    from rich.console import Group
    from rich.text import Text

    parts: list[Any] = [Text(str(stores))]
    for document in status_documents(stores, campaign):
        parts += _campaign_parts(document)
    states = firework_counts(stores).items()
    parts.append(Text("fireworks: " + (", ".join(f"{n} {s}" for s, n in states) or "none")))
    return Group(*parts)


def _campaign_parts(found: dict[str, Any]) -> list[Any]:
    from rich.table import Table
    from rich.text import Text

    states = [state for state in STATES if state in found["by_state"]]
    title = f"{found['campaign']}: {found['completed']} of {found['members']} completed"
    if found["control"] != "active":
        title += f" ({found['control']})"
    table = Table()
    table.add_column("true space group")
    for state in states:
        table.add_column(state.replace("_", " "), justify="right")
    for group, numbers in found["by_group"].items():
        table.add_row(group, *(str(numbers.get(state, 0)) for state in states))
    table.add_section()
    table.add_row("all", *(str(found["by_state"][state]) for state in states))
    lines = []
    stages = ", ".join(
        f"{entry['count']} {entry['state']} at {entry['stage']}" for entry in found["by_stage"]
    )
    lines.append(f"  by stage: {stages or 'nothing begun'}")
    if found["per_hour"]:
        lines.append(
            f"  {found['per_hour']:.1f} per hour"
            + (f", end expected {found['expected_end'][:16]} UTC" if found["expected_end"] else "")
        )
    if (oldest := found["oldest_heartbeat"]) is not None:
        lines.append(
            f"  oldest heartbeat: {oldest['material_id']} on {oldest['host']}, "
            f"{oldest['seconds']:.0f} s ago"
        )
    for failure in found["failures"]:
        lines.append(
            f"  {failure['count']} runs: {failure['name']} ({failure['code']}), for example: "
            f"{failure['message']}"
        )
    for skipped in found["skipped"][:SKIPPED_SHOWN]:
        lines.append(f"  skipped {skipped['identifier']}: {skipped['reason']}")
    if len(found["skipped"]) > SKIPPED_SHOWN:
        lines.append(f"  … {len(found['skipped'])} skipped in all")
    if found["training_runs"]:
        lines.append(f"  {found['training_runs']} training runs")
    return [Text(title), table, *(Text(line) for line in lines)]


def parse_query(collection: str, criteria: str, stores: Stores) -> dict[str, Any]:
    """Criteria of a query from its JSON text.

    Raises
    ------
    QueryError
        If the collection is not one of ours or the text is not a JSON object.
    """
    from stores.documents import DOCUMENTS

    names = [kind.collection for kind in DOCUMENTS]
    if collection not in names:
        raise QueryError(f"no collection {collection!r}; there are: {', '.join(names)}")
    try:
        query = json.loads(criteria)
    except json.JSONDecodeError as error:
        raise QueryError(f"the query is not JSON ({error}): {criteria}") from None
    if not isinstance(query, dict):
        raise QueryError(f"the query must be a JSON object such as {{}}, not {criteria}")
    return query


def print_query(
    stores: Stores, collection: str, criteria: str, fields: list[str], limit: int
) -> None:
    """Print the documents that a query finds, one JSON object per line.

    Standard error says when there are more than the limit.

    Parameters
    ----------
    stores : open database.
    collection : name.
    criteria : MongoDB query as JSON.
    fields : fields shown; empty shows all.
    limit : at most so many documents.

    Raises
    ------
    QueryError
        If the query is not usable or the database refuses it.
    """
    from bson import json_util
    from pymongo.errors import OperationFailure

    query = parse_query(collection, criteria, stores)
    try:
        found = find(stores, collection, query, fields=fields, limit=limit + 1)
    except OperationFailure as error:
        raise QueryError(f"the database refuses the query {criteria}: {error}") from None
    for document in found[:limit]:
        print(json_util.dumps(document, json_options=json_util.RELAXED_JSON_OPTIONS))
    if len(found) > limit:
        print(f"{limit} shown, there are more: --limit", file=sys.stderr)
