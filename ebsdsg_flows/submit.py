"""From a campaign file to the queue: one small workflow per structure, and only what is missing.

A member is added again neither to its own campaign nor, once completed, to another; a changed
parameter makes other members and leaves the old ones alone.  Workflows are added some hundreds at a
time, so that a submission can be interrupted anywhere: the next one adds the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.planning import Plan, PlannedMember, plan
from stores.documents import CampaignDocument, MemberDocument
from stores.identity import content_hash
from stores.states import FINISHED, now

if TYPE_CHECKING:
    from fireworks import Workflow

    from ebsdsg_flows.campaign import Campaign
    from stores.collections import Stores

BATCH = 500

__all__ = ["Plan", "plan", "submit"]


def submit(campaign: Campaign, stores: Stores) -> Plan:
    """Add what is missing of a campaign.

    Parameters
    ----------
    campaign : as its file says it.
    stores : open database.

    Returns
    -------
    What was added.
    """
    from ebsdsg_flows.advance import follow
    from ebsdsg_flows.control import regulate
    from ebsdsg_flows.holding import count_open, hold
    from ebsdsg_flows.workflows import add_workflows

    todo = plan(campaign, stores, estimate=False)
    control = _record(campaign, todo, stores)
    launchpad = stores.launchpad(strm_lvl="ERROR")
    cap = campaign.queue.max_open
    room = len(todo.new) if cap is None else max(0, cap - count_open(launchpad, campaign.name))
    if control != "active":
        room = 0
    added = 0
    for workflows in _batches(campaign, todo):
        add_workflows(launchpad, workflows)
        free = max(0, room - added)
        added += len(workflows)
        if free < len(workflows):
            hold(launchpad, [wf.root_fw_ids[0] for wf in workflows[free:]])
    note = ""
    if control != "active":
        regulate(stores, campaign.name)
        note = f"the campaign is {control}: `ebsdsg resume {campaign.name}` lets it go"
    elif cap is not None and len(todo.new) > room:
        note = f"{len(todo.new) - room} are held back: at most {cap} are in the queue at once"
    learning = follow(stores, campaign.name)
    return replace(todo, learning=learning, note=note)


def _batches(campaign: Campaign, todo: Plan) -> Iterator[list[Workflow]]:
    """Workflows of the new members, some hundreds at a time."""
    from ebsdsg_flows.flows.simulation import SimulationFlowMaker
    from ebsdsg_flows.jobs import MasterPatternMaker, MonteCarloMaker, RelabelMaker
    from ebsdsg_flows.workflows import to_workflow

    parameters = campaign.simulation.simulation_parameters
    relabel_maker = RelabelMaker(
        symprec=campaign.structures.symprec, origin=campaign.structures.origin
    )
    specs = {stage: resources.spec() for stage, resources in campaign.resources.items()}

    def workflow(key: str, member: PlannedMember) -> Workflow:
        options: dict[str, Any] = {
            "engine": member.engine,
            "parameters": parameters,
            "debye_waller": member.debye_waller,
        }
        apart = "monte_carlo" in campaign.resources and member.engine.keeps_monte_carlo
        maker = SimulationFlowMaker(
            relabel_maker=relabel_maker,
            monte_carlo_maker=MonteCarloMaker(**options) if apart else None,
            master_pattern_maker=MasterPatternMaker(**options),
            specs={
                stage: {**specs.get(stage, {}), "_priority": member.priority}
                for stage in ("structure", "monte_carlo", "master_pattern")
            },
        )
        item = member.item
        flow = maker.make(
            item.structure,
            item.material_id,
            item.source,
            item.licence,
            MemberDocument.key_of(campaign.name, key),
        )
        metadata = {
            "campaign": campaign.name,
            "member": key,
            "material_id": item.material_id,
            "priority": member.priority,
        }
        return to_workflow(flow, metadata)

    for first in range(0, len(todo.new), BATCH):
        yield [workflow(key, todo.members[key]) for key in todo.new[first : first + BATCH]]


def _record(campaign: Campaign, todo: Plan, stores: Stores) -> str:
    """Write the campaign's document and those of its members; what was decided about it before."""
    content = campaign.model_dump(mode="json")
    config = content_hash(content)
    old = stores.get(CampaignDocument, campaign.name)
    if old is None or old.config_hash != config:
        learning = ("datasets", "training", "final_model", "final_seeds", "adaptation")
        kept = (*learning, "simulation", "resources", "queue")
        document = CampaignDocument(
            key=campaign.name,
            name=campaign.name,
            query=content["structures"] | {"description": campaign.description},
            parameters={key: content[key] for key in kept},
            structures=sorted({member.material_id for member in todo.members.values()}),
            control="active" if old is None else old.control,
            config_hash=config,
        )
        stores.save(document)
    _record_members(campaign.name, todo, stores)
    return "active" if old is None else old.control


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
