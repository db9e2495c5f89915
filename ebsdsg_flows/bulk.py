"""Thousands of workflows that differ in their structure only: made once, copied, inserted in bulk.

jobflow and FireWorks take some 5 ms to make one structure's workflow.  Here one is made of marks in
the place of what differs, written as JSON, and filled in for each member; a test compares the
copies with workflows that were made one by one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from fireworks import LaunchPad, Workflow
    from pymatgen.core import Structure

TEXTS = ("material_id", "licence", "member", "kind", "identifier", "reference")
PRIORITY = 987654321
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


class TemplateError(ValueError):
    """A workflow cannot be made into a template; the message says what is in the way."""


def mark(name: str) -> str:
    """Text that stands for a value in a template."""
    return f"@@{name}@@"


def marked_structure() -> Structure:
    """Structure that stands for any other in a template."""
    from pymatgen.core import Lattice, Structure

    return Structure(Lattice.cubic(1.0), ["H"], [[0, 0, 0]])


class WorkflowTemplate:
    """A workflow with marks, ready to be copied.

    Parameters
    ----------
    workflow : made of :func:`mark` for each of :data:`TEXTS`, :data:`PRIORITY` and
        :func:`marked_structure`, which must occur once.
    hashed : text that the workflow holds for its structure's hash.

    Raises
    ------
    TemplateError
        If the structure does not occur, or more than once.
    """

    def __init__(self, workflow: Workflow, hashed: str) -> None:
        self._workflow = workflow.to_db_dict()
        self._nodes = [firework.fw_id for firework in workflow.fws]
        times = {key: self._workflow.pop(key) for key in ("created_on", "updated_on")}
        assert all(isinstance(time, datetime) for time in times.values())
        fireworks = [firework.to_db_dict() for firework in workflow.fws]
        found = 0
        for firework in fireworks:
            found += _replace_structure(firework)
        if found != 1:
            raise TemplateError(f"the structure occurs {found} times in the workflow, not once")
        self._text = json.dumps(
            {"name": self._workflow["name"], "fireworks": fireworks},
            allow_nan=False,
        ).replace(hashed, mark("given_as"))
        self.uuids = sorted(set(re.findall(UUID, self._text)))
        marks = "|".join(map(re.escape, (*map(mark, (*TEXTS, "given_as")), *self.uuids)))
        self._pattern = re.compile(f'"{mark("structure")}"|{PRIORITY}|{marks}')

    def __len__(self) -> int:
        """Fireworks of one workflow."""
        return len(self._nodes)

    def copy(
        self,
        texts: dict[str, str],
        structure: Any,
        metadata: dict[str, Any],
        first_id: int,
        state: str,
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Documents of one workflow and its fireworks.

        Parameters
        ----------
        texts : a text for each mark of :data:`TEXTS`, and ``given_as``.
        structure : pymatgen dictionary.
        metadata : of the workflow; its ``priority`` is also its fireworks'.
        first_id : of the first firework; the others follow.
        state : of its root, READY or PAUSED.
        """
        now = datetime.now(UTC)
        values = {mark(name): json.dumps(text)[1:-1] for name, text in texts.items()}
        values |= {uuid: str(uuid4()) for uuid in self.uuids}
        values[str(PRIORITY)] = str(metadata["priority"])
        values[f'"{mark("structure")}"'] = json.dumps(structure)
        filled = json.loads(self._pattern.sub(lambda found: values[found[0]], self._text))
        ids = {old: first_id + i for i, old in enumerate(sorted(self._nodes, reverse=True))}
        links = {str(ids[int(k)]): [ids[c] for c in v] for k, v in self._workflow["links"].items()}
        parents = {
            str(ids[int(k)]): [ids[p] for p in v] for k, v in self._workflow["parent_links"].items()
        }
        states = {str(i): "WAITING" if str(i) in parents else state for i in ids.values()}
        for firework in filled["fireworks"]:
            firework["fw_id"] = ids[firework["fw_id"]]
            firework["state"] = states[str(firework["fw_id"])]
            firework["created_on"] = firework["updated_on"] = now.isoformat()
        workflow = {
            **self._workflow,
            "links": links,
            "parent_links": parents,
            "nodes": sorted(ids.values()),
            "metadata": {**metadata, **({"held": True} if state == "PAUSED" else {})},
            "state": state,
            "name": filled["name"],
            "created_on": now,
            "updated_on": now,
            "fw_states": states,
        }
        return workflow, filled["fireworks"]


def _replace_structure(value: Any) -> int:
    """Put the mark in the place of structures below a value; how many there were."""
    found = 0
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(item, dict) and item.get("@class") == "Structure":
            value[key] = mark("structure")
            found += 1
        elif isinstance(item, dict | list):
            found += _replace_structure(item)
    return found


Copier = Callable[[int], tuple[dict[str, Any], list[dict[str, Any]]]]
"""Makes the documents of a workflow whose first firework has the given number."""


def insert(launchpad: LaunchPad, copiers: Sequence[tuple[int, Copier]]) -> None:
    """Insert workflows in bulk, each before its fireworks, so that none is taken too early.

    Parameters
    ----------
    launchpad : prepared (:func:`ebsdsg_flows.workflows.prepare`).
    copiers : number of fireworks, and what makes the documents.
    """
    total = sum(size for size, _ in copiers)
    if not total:
        return
    number = launchpad.fw_id_assigner.find_one_and_update({}, {"$inc": {"next_fw_id": total}})[
        "next_fw_id"
    ]
    workflows, fireworks = [], []
    for size, copier in copiers:
        workflow, parts = copier(number)
        workflows.append(workflow)
        fireworks += parts
        number += size
    launchpad.workflows.insert_many(workflows)
    launchpad.fireworks.insert_many(fireworks)
