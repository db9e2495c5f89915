"""What stands where: counts for a terminal, and free queries of the database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from stores.queries import counts, failures_by_code

if TYPE_CHECKING:
    from stores.collections import Stores

FIREWORK_STATES = ("READY", "WAITING", "RUNNING", "COMPLETED", "FIZZLED")


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


def print_status(stores: Stores, campaign: str | None) -> None:
    """Print one line per campaign and the fireworks by state.

    Raises
    ------
    QueryError
        If there is no campaign of that name.
    """
    from rich.console import Console
    from rich.table import Table

    found = list(stores.campaigns.find({"key": campaign} if campaign else {}))
    if campaign and not found:
        names = ", ".join(sorted(stores.campaigns.distinct("key"))) or "none"
        raise QueryError(f"no campaign {campaign!r} in this database; there are: {names}")
    table = Table(title=repr(stores), title_justify="left")
    for column in ("campaign", "structures", "simulations", "failed", "skipped", "trained"):
        table.add_column(column, justify="left" if column == "campaign" else "right")
    for entry in found:
        states = simulation_counts(stores, entry["simulations"])
        bad = sum(states.get(state, 0) for state in ("failed", "timed_out", "lost"))
        table.add_row(
            entry["key"],
            str(len(entry["structures"])),
            f"{states.get('completed', 0)} completed, {states.get('running', 0)} running",
            str(bad),
            str(len(entry["skipped"])),
            str(len(entry["training_runs"])),
        )
    console = Console()
    console.print(table)
    for entry in found:
        for skipped in entry["skipped"]:
            console.print(f"  skipped {skipped['identifier']}: {skipped['reason']}", markup=False)
    for failure in failures_by_code(stores):
        console.print(
            f"  {failure['count']} runs: {failure['name']} ({failure['code']}), the last: "
            f"{failure['message']}",
            markup=False,
        )
    found_states = firework_counts(stores).items()
    console.print("fireworks: " + (", ".join(f"{n} {s}" for s, n in found_states) or "none"))


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
    projection: dict[str, Any] = {"_id": 0, **dict.fromkeys(fields, 1)}
    try:
        found = list(stores.database[collection].find(query, projection).limit(limit))
    except OperationFailure as error:
        raise QueryError(f"the database refuses the query {criteria}: {error}") from None
    for document in found:
        print(json_util.dumps(document, json_options=json_util.RELAXED_JSON_OPTIONS))
