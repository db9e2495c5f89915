"""From a campaign file to the queue: one small workflow per structure, and only what is missing.

A member is added again neither to its own campaign nor, once completed, to another; a changed
parameter makes other members and leaves the old ones alone.  Workflows are added some hundreds at a
time, so that a submission can be interrupted anywhere: the next one adds the rest.  Of several at
once, one adds what is missing, and the others find it there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.bulk import PRIORITY, Copier, WorkflowTemplate, mark, marked_structure
from ebsdsg_flows.planning import Plan, PlannedMember, plan
from ebsdsg_flows.sources import SourceItem
from stores.documents import CampaignDocument, MemberDocument
from stores.identity import content_hash
from stores.lease import Lease, take
from stores.states import FINISHED, now

if TYPE_CHECKING:
    from fireworks import Workflow

    from ebsdsg_flows.campaign import Campaign
    from stores.collections import Stores

BATCH = 500

LEASE = timedelta(minutes=1)
"""Time for which a submission may stand still before another goes on in its place."""

__all__ = ["Plan", "SubmissionError", "plan", "submit"]

log = logging.getLogger(__name__)


class SubmissionError(RuntimeError):
    """A submission stood still for so long that another was let in; the message says what to do."""


def submit(campaign: Campaign, stores: Stores) -> Plan:
    """Add what is missing of a campaign.

    Parameters
    ----------
    campaign : as its file says it.
    stores : open database.

    Returns
    -------
    What was added.

    Raises
    ------
    SubmissionError
        If this process stood still for longer than :data:`LEASE` while it added workflows.
    """
    from ebsdsg_flows.advance import follow
    from ebsdsg_flows.bulk import insert
    from ebsdsg_flows.control import regulate
    from ebsdsg_flows.holding import count_open
    from ebsdsg_flows.workflows import known_members, prepare

    todo = plan(campaign, stores, estimate=False)
    launchpad = stores.launchpad(strm_lvl="ERROR")
    prepare(launchpad)
    cap = campaign.queue.max_open
    workflows = Workflows(campaign)
    with _alone(stores, campaign.name) as lease:
        # another submission may have added some since they were planned
        known = known_members(launchpad, todo.new, campaign.name)
        todo = replace(
            todo,
            new=tuple(key for key in todo.new if key not in known),
            completed=todo.completed + sum(known.values()),
        )
        control = _record(campaign, todo, stores)
        room = len(todo.new) if cap is None else max(0, cap - count_open(launchpad, campaign.name))
        if control != "active":
            room = 0
        for first in range(0, len(todo.new), BATCH):
            batch = todo.new[first : first + BATCH]
            copiers = [
                workflows.copier(key, todo.members[key], held=number >= room)
                for number, key in enumerate(batch, first)
            ]
            if not lease.renew():
                raise SubmissionError(
                    f"{first} of {len(todo.new)} simulations of campaign {campaign.name} were "
                    f"added when this process stood still for {LEASE.total_seconds():.0f} s; "
                    "submit it again to add the rest"
                )
            insert(launchpad, copiers)
    note = ""
    regulate(stores, campaign.name)  # also where a cap was changed
    if control != "active":
        note = f"the campaign is {control}: `ebsdsg resume {campaign.name}` lets it go"
    elif len(todo.new) > room:
        note = f"{len(todo.new) - room} are held back: at most {cap} are in the queue at once"
    learning = follow(stores, campaign.name)
    return replace(todo, learning=learning, note=note)


@contextmanager
def _alone(stores: Stores, campaign: str) -> Iterator[Lease]:
    """Be the only process that submits a campaign; another is waited for."""
    told = False
    while True:
        with take(stores, f"submit {campaign}", LEASE) as lease:
            if lease is not None:
                yield lease
                return
        if not told:
            told = True
            log.warning("campaign %s is being submitted by another process: waiting", campaign)
        time.sleep(0.2)


class Workflows:
    """Makes the workflows of a campaign's members.

    Parameters
    ----------
    campaign : as its file says it.
    """

    def __init__(self, campaign: Campaign) -> None:
        self.campaign = campaign
        self._templates: dict[str, WorkflowTemplate] = {}
        self._hashes: dict[str, str] = {}

    def workflow(self, key: str, member: PlannedMember) -> Workflow:
        """Workflow of one member."""
        from ebsdsg_flows.flows.simulation import SimulationFlowMaker
        from ebsdsg_flows.jobs import MasterPatternMaker, MonteCarloMaker, RelabelMaker
        from ebsdsg_flows.workflows import to_workflow

        campaign, item = self.campaign, member.item
        options: dict[str, Any] = {
            "engine": member.engine,
            "parameters": campaign.simulation.simulation_parameters,
            "debye_waller": member.debye_waller,
        }
        apart = "monte_carlo" in campaign.resources and member.engine.keeps_monte_carlo
        specs = {stage: resources.spec() for stage, resources in campaign.resources.items()}
        maker = SimulationFlowMaker(
            relabel_maker=RelabelMaker(
                symprec=campaign.structures.symprec, origin=campaign.structures.origin
            ),
            monte_carlo_maker=MonteCarloMaker(**options) if apart else None,
            master_pattern_maker=MasterPatternMaker(**options),
            specs={
                stage: {**specs.get(stage, {}), "_priority": member.priority}
                for stage in ("structure", "monte_carlo", "master_pattern")
            },
        )
        flow = maker.make(
            item.structure,
            item.material_id,
            item.source,
            item.licence,
            MemberDocument.key_of(campaign.name, key),
        )
        return to_workflow(flow, self._metadata(key, member))

    def copier(self, key: str, member: PlannedMember, *, held: bool) -> tuple[int, Copier]:
        """The same as :meth:`workflow`, as a copy of a template; see :mod:`ebsdsg_flows.bulk`.

        Parameters
        ----------
        key, member : hash and member.
        held : whether it waits until there is room.
        """
        template = self._template(member)
        item = member.item
        texts = {
            **item.source,
            "material_id": item.material_id,
            "licence": item.licence,
            "member": key,
            "given_as": self._given_as(item),
        }
        metadata, state = self._metadata(key, member), "PAUSED" if held else "READY"
        return len(template), lambda number: template.copy(
            texts, item.values, metadata, number, state
        )

    def _given_as(self, item: SourceItem) -> str:
        """Hash of a structure as given, the same for all its variants."""
        from ebsdsg_flows.atoms import atoms_of
        from ebsdsg_flows.structures import input_hash

        if item.material_id not in self._hashes:
            atoms = atoms_of(item.values, item.material_id)
            self._hashes[item.material_id] = input_hash(atoms, **self._options)
        return self._hashes[item.material_id]

    def _metadata(self, key: str, member: PlannedMember) -> dict[str, Any]:
        return {
            "campaign": self.campaign.name,
            "member": key,
            "material_id": member.material_id,
            "priority": member.priority,
        }

    @property
    def _options(self) -> dict[str, Any]:
        structures = self.campaign.structures
        return {"symprec": structures.symprec, "origin": structures.origin}

    def _template(self, member: PlannedMember) -> WorkflowTemplate:
        from ebsdsg_flows.atoms import atoms_of
        from ebsdsg_flows.structures import input_hash

        kind = repr((member.engine, member.debye_waller))
        if kind not in self._templates:
            structure = marked_structure()
            source = {name: mark(name) for name in ("kind", "identifier", "reference")}
            item = SourceItem(mark("material_id"), structure.as_dict(), source, mark("licence"))
            marked = replace(member, item=item, priority=PRIORITY)
            workflow = self.workflow(mark("member"), marked)
            hashed = input_hash(atoms_of(structure, "template"), **self._options)
            self._templates[kind] = WorkflowTemplate(workflow, hashed)
        return self._templates[kind]


def _record(campaign: Campaign, todo: Plan, stores: Stores) -> str:
    """Write the campaign's document and those of its members; what was decided about it before.

    Of a document that exists only what its file says is changed: results stay, and what a person
    decides meanwhile does.
    """
    content = campaign.model_dump(mode="json")
    learning = ("datasets", "training", "final_model", "final_seeds", "adaptation")
    kept = (*learning, "simulation", "resources", "queue")
    said: dict[str, Any] = {
        "query": content["structures"] | {"description": campaign.description},
        "parameters": {key: content[key] for key in kept},
        "structures": sorted({member.material_id for member in todo.members.values()}),
        "config_hash": content_hash(content),
    }
    document = CampaignDocument(key=campaign.name, name=campaign.name, **said)
    if not stores.add(document):
        plain = document.to_mongo()
        stores.campaigns.update_one(
            {"key": campaign.name, "config_hash": {"$ne": document.config_hash}},
            {"$set": {**{field: plain[field] for field in said}, "last_updated": now()}},
        )
    _record_members(campaign.name, todo, stores)
    found = stores.get(CampaignDocument, campaign.name)
    assert found is not None, "added above"
    return found.control


def _record_members(campaign: str, todo: Plan, stores: Stores) -> None:
    known = {
        member["member"]: member["current"]
        for member in stores.members.find({"campaign": campaign}, {"member": 1, "current": 1})
    }
    new = set(todo.new)
    absent = [key for key in todo.members if key not in known]
    elsewhere = _ended_elsewhere(stores, [key for key in absent if key not in new])
    documents = []
    for key in absent:
        member = todo.members[key]
        simulation = elsewhere.get(key)
        documents.append(
            MemberDocument(
                key=MemberDocument.key_of(campaign, key),
                campaign=campaign,
                member=key,
                material_id=member.material_id,
                variant=member.variant,
                space_group=member.item.space_group,
                outcome="open" if simulation is None else "ended",
                simulation=simulation,
                priority=member.priority,
            )
        )
    stores.add_many(documents)
    for current in (True, False):
        changed = [
            k for k, was in known.items() if was != current and (k in todo.members) == current
        ]
        for first in range(0, len(changed), BATCH):
            stores.members.update_many(
                {"campaign": campaign, "member": {"$in": changed[first : first + BATCH]}},
                {"$set": {"current": current, "last_updated": now()}},
            )


def _ended_elsewhere(stores: Stores, members: list[str]) -> dict[str, str]:
    """Simulation of those members that another campaign brought to an end."""
    simulations: dict[str, str] = {}
    for first in range(0, len(members), BATCH):
        for found in stores.members.find(
            {"member": {"$in": members[first : first + BATCH]}}, {"member": 1, "simulation": 1}
        ):
            if found["simulation"] is not None:
                simulations[found["member"]] = found["simulation"]
    keys = sorted(set(simulations.values()))
    ended = set()
    for first in range(0, len(keys), BATCH):
        condition = {
            "key": {"$in": keys[first : first + BATCH]},
            "state": {"$in": sorted(str(state) for state in FINISHED)},
        }
        ended |= {found["key"] for found in stores.simulations.find(condition, {"key": 1})}
    return {member: key for member, key in simulations.items() if key in ended}
