"""What stands where in a campaign, as numbers: the content of ``ebsdsg status``."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.throughput import WINDOW, throughput
from stores.queries import campaign_simulations, counts
from stores.states import State, now

if TYPE_CHECKING:
    from stores.collections import Stores

BATCH = 1000


def overview(stores: Stores, campaign: dict[str, Any]) -> dict[str, Any]:
    """Counts, throughput, expected end, signs of life and failures of a campaign.

    Parameters
    ----------
    stores : open database.
    campaign : its document.

    Returns
    -------
    Plain JSON types.  ``by_state`` and ``by_group`` count members: ``waiting`` has no simulation
    yet or one that waits, ``unusable`` are structures that cannot be used.  Times are ISO texts or
    seconds, ``None`` where nothing is known.
    """
    name = campaign["key"]
    keys = campaign_simulations(stores, name)
    simulations = _simulations(stores, keys)
    by_state: dict[str, int] = {}
    by_group: dict[str, dict[str, int]] = {}
    for member in stores.members.find(
        {"campaign": name, "current": True},
        {"_id": False, "simulation": True, "outcome": True, "space_group": True},
    ):
        state, group = simulations.get(member["simulation"], (str(State.WAITING), None))
        if member["outcome"] == "unusable":
            state = "unusable"
        group = group or member["space_group"]
        by_state[state] = by_state.get(state, 0) + 1
        groups = by_group.setdefault(str(group or "not known yet"), {})
        groups[state] = groups.get(state, 0) + 1
    done = by_state.get(State.COMPLETED, 0)
    left = sum(by_state.get(state, 0) for state in (State.WAITING, State.RUNNING))
    rate = _rate(stores, keys, left=left > 0)
    return {
        "campaign": name,
        "control": campaign.get("control", "active"),
        "structures": len(campaign["structures"]),
        "members": sum(by_state.values()),
        "completed": done,
        "left": left,
        "by_state": by_state,
        "by_stage": counts(stores, simulations=keys),
        "by_group": dict(sorted(by_group.items())),
        "per_hour": rate,
        "expected_end": None if not rate or not left else _end(left / rate).isoformat(),
        "oldest_heartbeat": _oldest_heartbeat(stores, keys),
        "failures": _failures(stores, keys),
        "skipped": campaign["skipped"],
        "training_runs": len(campaign["training_runs"]),
    }


def _end(hours: float) -> datetime:
    return now() + timedelta(hours=min(hours, 24 * 3650))


def _simulations(stores: Stores, keys: list[str]) -> dict[str, tuple[str, int]]:
    """State and space group by key."""
    found: dict[str, tuple[str, int]] = {}
    for first in range(0, len(keys), BATCH):
        for entry in stores.simulations.find(
            {"key": {"$in": keys[first : first + BATCH]}},
            {"_id": False, "key": True, "state": True, "space_group": True},
        ):
            found[entry["key"]] = (entry["state"], entry["space_group"])
    return found


def _runs(stores: Stores, keys: list[str], condition: dict[str, Any], *fields: str) -> list[Any]:
    found = []
    for first in range(0, len(keys), BATCH):
        query = {"simulation": {"$in": keys[first : first + BATCH]}, **condition}
        found += list(stores.runs.find(query, dict.fromkeys(fields, True)))
    return found


def _rate(stores: Stores, keys: list[str], *, left: bool) -> float | None:
    """Simulations completed per hour of work."""
    fields = ("state", "next_stage", "started", "finished", "heartbeat")
    at = now()
    recent = {"$or": [{"finished": {"$gte": at - WINDOW}}, {"heartbeat": {"$gte": at - WINDOW}}]}
    return throughput(_runs(stores, keys, recent, *fields), at, left=left)


def _oldest_heartbeat(stores: Stores, keys: list[str]) -> dict[str, Any] | None:
    mine = set(keys)
    for run in stores.runs.find(
        {"state": str(State.RUNNING)},
        {"simulation": True, "material_id": True, "heartbeat": True, "owner.host": True},
        sort=[("heartbeat", 1)],
    ):
        if run["simulation"] in mine:
            return {
                "material_id": run["material_id"],
                "host": run["owner"]["host"],
                "seconds": round((now() - run["heartbeat"]).total_seconds(), 1),
            }
    return None


def _failures(stores: Stores, keys: list[str]) -> list[dict[str, Any]]:
    """Runs of the campaign that ended badly, by code, most frequent first."""
    bad = {"$in": [str(State.FAILED), str(State.TIMED_OUT), str(State.LOST)]}
    kinds: dict[tuple[int, str], dict[str, Any]] = {}
    for run in _runs(stores, keys, {"state": bad}, "failure", "finished"):
        failure = run["failure"]
        kind = kinds.setdefault(
            (failure["code"], failure["name"]),
            {"code": failure["code"], "name": failure["name"], "count": 0, "message": ""},
        )
        kind["count"] += 1
        kind["message"] = failure["message"]
    return sorted(kinds.values(), key=lambda kind: (-kind["count"], kind["code"]))
