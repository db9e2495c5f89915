"""FireWorks' part of holding work back: READY to PAUSED and back, thousands at a time.

FireWorks pauses one firework after the other, each with its workflow; here the fireworks change in
bulk by conditional updates, and the workflows' copies of their states are brought up to date after
them.  Workflows in which something runs are changed under FireWorks' own lock.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from fireworks import LaunchPad

T = TypeVar("T")

BATCH = 1000
OPEN = ("READY", "RESERVED", "RUNNING")
BEGUN = frozenset({"RESERVED", "RUNNING", "COMPLETED", "FIZZLED"})
PASSES = 50
"""Workers go on while we look: what one took or ended meanwhile is seen in the next pass."""


def count_open(launchpad: LaunchPad, campaign: str) -> int:
    """Workflows of a campaign's structures that are ready, reserved or running."""
    return int(
        launchpad.workflows.count_documents(
            {
                "metadata.campaign": campaign,
                "metadata.member": {"$exists": True},
                "state": {"$in": list(OPEN)},
            }
        )
    )


def hold(launchpad: LaunchPad, fireworks: Iterable[int]) -> int:
    """Hold back fireworks that are ready; those that a worker took before are left to it.

    Returns
    -------
    Number of fireworks held.
    """
    held = 0
    for part in parts(sorted(fireworks)):
        ids = {"fw_id": {"$in": part}}
        changed = launchpad.fireworks.update_many(
            {**ids, "state": "READY"}, {"$set": {"state": "PAUSED"}}
        )
        held += changed.modified_count
        # also those that a call which was killed here had paused
        paused = launchpad.fireworks.find({**ids, "state": "PAUSED"}, {"fw_id": 1})
        _mirror(launchpad, [firework["fw_id"] for firework in paused], held=True)
    return held


def hold_surplus(launchpad: LaunchPad, campaign: str, surplus: int) -> int:
    """Hold back ready structures that nobody began, those of the lowest priority first."""
    begun = launchpad.workflows.find(
        {"metadata.campaign": campaign, "metadata.member": {"$exists": True}, "state": "READY"},
        {"nodes": 1, "metadata.priority": 1},
    )
    ready = sorted(begun, key=lambda w: (w["metadata"].get("priority", 0), -min(w["nodes"])))
    return hold(launchpad, [node for w in ready[:surplus] for node in w["nodes"]])


def hold_all(launchpad: LaunchPad, campaign: str) -> int:
    """Hold back everything of a campaign that is ready, and what follows on what runs."""
    mine = {"metadata.campaign": campaign}
    held: set[Any] = set()
    for _ in range(PASSES):
        changed = 0
        unbegun = list(launchpad.workflows.find({**mine, "state": "READY"}, {"nodes": 1}))
        for part in parts(unbegun):
            paused = hold(launchpad, [node for workflow in part for node in workflow["nodes"]])
            changed += paused
            held.update(workflow["_id"] for workflow in part if paused)
        begun = {**mine, "state": {"$in": ["RUNNING", "RESERVED"]}}
        for workflow in list(launchpad.workflows.find(begun, {"nodes": 1})):
            if _hold_rest(launchpad, workflow["nodes"]):
                changed += 1
                held.add(workflow["_id"])
        if not changed:
            if launchpad.workflows.find_one({**mine, "state": "READY"}, {"_id": 1}) is None:
                break
            time.sleep(0.2)  # a worker has just taken it and is about to say so
    return len(held)


def _hold_rest(launchpad: LaunchPad, nodes: list[int]) -> bool:
    """Hold back what was not begun of a workflow in which something runs.

    A worker that ends a job rewrites those that follow, under FireWorks' lock of the workflow;
    so this takes the lock.
    """
    from fireworks.core.launchpad import WFLock

    with WFLock(launchpad, nodes[0]):
        changed = launchpad.fireworks.update_many(
            {"fw_id": {"$in": nodes}, "state": {"$in": ["READY", "WAITING"]}},
            {"$set": {"state": "PAUSED"}},
        )
        if changed.modified_count:
            _mirror(launchpad, nodes, held=True)
    return bool(changed.modified_count)


def release(launchpad: LaunchPad, campaign: str, room: int) -> int:
    """Let the structures of the highest priority go, learning before all."""
    waiting = launchpad.workflows.find(
        {"metadata.campaign": campaign, "metadata.held": True},
        {"nodes": 1, "fw_states": 1, "parent_links": 1, "metadata": 1},
    )
    best = sorted(
        waiting,
        key=lambda w: (
            "learning" not in w["metadata"],
            -w["metadata"].get("priority", 0),
            min(w["nodes"]),
        ),
    )[:room]
    unbegun = [w for w in best if not BEGUN & set(w["fw_states"].values())]
    for part in parts(unbegun):
        roots = [n for w in part for n in w["nodes"] if not w["parent_links"].get(str(n))]
        launchpad.fireworks.update_many(
            {"fw_id": {"$in": roots}, "state": "PAUSED"}, {"$set": {"state": "READY"}}
        )
        rest = [n for w in part for n in w["nodes"] if w["parent_links"].get(str(n))]
        launchpad.fireworks.update_many(
            {"fw_id": {"$in": rest}, "state": "PAUSED"}, {"$set": {"state": "WAITING"}}
        )
        _mirror(launchpad, [*roots, *rest], held=False)
    for workflow in best:
        if BEGUN & set(workflow["fw_states"].values()):
            _release_rest(launchpad, workflow)
    return len(best)


def _release_rest(launchpad: LaunchPad, workflow: dict[str, Any]) -> None:
    """Let go what is held of a workflow in which something ran; see :func:`_hold_rest`."""
    from fireworks.core.launchpad import WFLock

    nodes, parents = workflow["nodes"], workflow["parent_links"]
    with WFLock(launchpad, nodes[0]):
        states = {
            firework["fw_id"]: firework["state"]
            for firework in launchpad.fireworks.find(
                {"fw_id": {"$in": nodes}}, {"fw_id": 1, "state": 1}
            )
        }
        for node, state in states.items():
            if state == "PAUSED":
                above = [states[parent] for parent in parents.get(str(node), [])]
                free = all(state == "COMPLETED" for state in above)
                launchpad.fireworks.update_one(
                    {"fw_id": node, "state": "PAUSED"},
                    {"$set": {"state": "READY" if free else "WAITING"}},
                )
        _mirror(launchpad, nodes, held=False)


def reignite(launchpad: LaunchPad, campaign: str) -> None:
    """Make what was taken out by :func:`cancel` held again."""
    for workflow in list(
        launchpad.workflows.find(
            {"metadata.campaign": campaign, "metadata.defused": True}, {"nodes": 1}
        )
    ):
        launchpad.fireworks.update_many(
            {"fw_id": {"$in": workflow["nodes"]}, "state": "DEFUSED"},
            {"$set": {"state": "PAUSED"}},
        )
        _mirror(launchpad, workflow["nodes"], held=True)
        launchpad.workflows.update_one(
            {"_id": workflow["_id"]}, {"$unset": {"metadata.defused": ""}}
        )


def defuse(launchpad: LaunchPad, campaign: str) -> int:
    """Take out what is held."""
    found = list(
        launchpad.workflows.find(
            {"metadata.campaign": campaign, "metadata.held": True}, {"nodes": 1}
        )
    )
    for part in parts(found):
        nodes = [node for workflow in part for node in workflow["nodes"]]
        # marked first: a mark without anything defused does no harm
        launchpad.workflows.update_many(
            {"_id": {"$in": [workflow["_id"] for workflow in part]}},
            {"$set": {"metadata.defused": True}},
        )
        launchpad.fireworks.update_many(
            {"fw_id": {"$in": nodes}, "state": {"$in": ["PAUSED", "WAITING"]}},
            {"$set": {"state": "DEFUSED"}},
        )
        _mirror(launchpad, nodes, held=False)
    return len(found)


def _mirror(launchpad: LaunchPad, fireworks: list[int], *, held: bool) -> None:
    """Bring the workflows' copies of the states of some fireworks up to date, and our mark."""
    from pymongo import UpdateOne

    states = {
        firework["fw_id"]: firework["state"]
        for firework in launchpad.fireworks.find(
            {"fw_id": {"$in": fireworks}}, {"fw_id": 1, "state": 1}
        )
    }
    changes = []
    for workflow in launchpad.workflows.find(
        {"nodes": {"$in": fireworks}}, {"nodes": 1, "fw_states": 1, "links": 1, "metadata.held": 1}
    ):
        mine = {n: states[n] for n in workflow["nodes"] if n in states}
        told = {**workflow["fw_states"], **{str(n): state for n, state in mine.items()}}
        update: dict[str, Any] = {
            "$set": {
                **{f"fw_states.{n}": state for n, state in mine.items()},
                "state": _state_of(told, workflow["links"]),
            }
        }
        if held and "PAUSED" in told.values():
            update["$set"]["metadata.held"] = True
        elif not held:
            update["$unset"] = {"metadata.held": ""}
        changes.append(UpdateOne({"_id": workflow["_id"]}, update))
    if changes:
        launchpad.workflows.bulk_write(changes, ordered=False)


def _state_of(states: dict[str, str], links: dict[str, list[int]]) -> str:
    """State of a workflow by those of its fireworks, as FireWorks defines it."""
    all_states = set(states.values())
    if all(states[node] == "COMPLETED" for node, children in links.items() if not children):
        return "COMPLETED"
    for state in ("DEFUSED", "PAUSED", "FIZZLED"):
        if state in all_states:
            return state
    if {"COMPLETED", "RUNNING"} & all_states:
        return "RUNNING"
    return "RESERVED" if "RESERVED" in all_states else "READY"


def count_running_in_held(launchpad: LaunchPad, campaign: str) -> int:
    """Workflows with a job that runs while what follows is held or taken out."""
    found = launchpad.workflows.find(
        {"metadata.campaign": campaign, "state": {"$in": ["PAUSED", "DEFUSED"]}}, {"fw_states": 1}
    )
    return sum("RUNNING" in workflow["fw_states"].values() for workflow in found)


def parts(items: list[T]) -> Iterator[list[T]]:
    """A list in pieces that one command can name."""
    return (items[first : first + BATCH] for first in range(0, len(items), BATCH))
