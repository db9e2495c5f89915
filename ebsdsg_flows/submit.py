"""From a campaign file to the queue: one small workflow per structure, and only what is missing.

A member of a campaign is identified by the hash of its structure as the source gives it and of
everything that makes its master pattern.  It is added again neither to its own campaign nor, once
completed, to another; a changed parameter makes other members and leaves the old ones alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from stores.documents import CampaignDocument, SimulationDocument, StructureDocument
from stores.identity import content_hash
from stores.states import FINISHED

if TYPE_CHECKING:
    from ebsdsg_flows.campaign import Campaign
    from ebsdsg_flows.engines import Engine
    from ebsdsg_flows.sources import SourceItem
    from stores.collections import Stores


@dataclass(frozen=True)
class Plan:
    """What a submission adds.

    Parameters
    ----------
    campaign : name.
    members : member hash to structure, of all structures of the campaign.
    new : hashes of the members that have no workflow yet.
    refused : identifier and reason of the structures of the source that cannot be used.
    engines : member hash to the engine that simulates it.
    learning : whether the learning workflow can be added at once.
    """

    campaign: str
    members: dict[str, SourceItem]
    new: tuple[str, ...]
    refused: tuple[tuple[str, str], ...] = ()
    engines: dict[str, Engine] = field(default_factory=dict, compare=False)
    learning: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        lines = [
            f"campaign {self.campaign}: {len(self.members)} structures, "
            f"{len(self.new)} new simulations, {len(self.members) - len(self.new)} already there"
        ]
        names = Counter(engine.name for engine in self.engines.values())
        if len(names) > 1:
            lines.append("  by " + ", ".join(f"{name}: {n}" for name, n in sorted(names.items())))
        lines += [f"  refused {identifier}: {reason}" for identifier, reason in self.refused]
        if self.learning:
            lines.append("  all simulations have ended: learning was added")
        return "\n".join(lines)


def member_hash(item: SourceItem, campaign: Campaign, engine: Engine) -> str:
    """Identity of one member of a campaign.

    Parameters
    ----------
    item : structure.
    campaign : with what it is simulated.
    engine : by what.
    """
    return content_hash(
        {
            "structure": item.structure.as_dict(),
            "symprec": campaign.structures.symprec,
            **_origin_of(campaign),
            "debye_waller": campaign.simulation.debye_waller,
            "parameters": campaign.simulation.parameters,
            "engine": [engine.name, engine.physics_version],
        }
    )


def _origin_of(campaign: Campaign) -> dict[str, str]:
    """The origin provider, where it is not the usual one: older members keep their identity."""
    origin = campaign.structures.origin
    return {} if origin == "spglib" else {"origin": origin}


def plan(campaign: Campaign, stores: Stores) -> Plan:
    """Find out what a submission would add, without adding it.

    Parameters
    ----------
    campaign : as its file says it.
    stores : open database.

    Raises
    ------
    ebsdsg_flows.structures.StructureError
        If the source is one structure and that cannot be used.
    ebsdsg_flows.sources.SourceError
        If the source does not exist or holds no usable structure, or an override names one that
        is not in it.
    """
    from ebsdsg_flows.atoms import StructureError
    from ebsdsg_flows.sources import SourceError, read_sources
    from ebsdsg_flows.workflows import known_members

    items, refused = read_sources(campaign.structures, stores)
    there = {item.material_id for item in items}.union(identifier for identifier, _ in refused)
    named = {name for override in campaign.simulation.overrides for name in override.materials}
    if absent := sorted(named - there):
        raise SourceError(
            f"simulation.overrides names {', '.join(absent)}, not a structure of this campaign"
        )
    all_engines = campaign.simulation.make_engines()
    members: dict[str, SourceItem] = {}
    engines: dict[str, Engine] = {}
    for item in items:
        try:
            engine = _engine_of(item, campaign, all_engines)
        except StructureError as error:
            refused = (*refused, (item.material_id, str(error)))
            continue
        member = member_hash(item, campaign, engine)
        members[member], engines[member] = item, engine
    known = known_members(stores.launchpad(strm_lvl="ERROR"), members, campaign.name)
    new = tuple(member for member in members if member not in known)
    return Plan(campaign.name, members, new, refused, engines)


def _engine_of(item: SourceItem, campaign: Campaign, engines: Sequence[Engine]) -> Engine:
    """Which of the campaign's engines simulates a structure."""
    from ebsdsg_flows.sources import space_group_of

    def space_group() -> int:
        return space_group_of(item, campaign.structures.symprec)

    return engines[campaign.simulation.engine_number(item.material_id, space_group)]


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
    from ebsdsg_flows.advance import advance
    from ebsdsg_flows.flows.simulation import SimulationFlowMaker
    from ebsdsg_flows.jobs import MasterPatternMaker, RelabelMaker
    from ebsdsg_flows.workflows import add_workflows, to_workflow

    todo = plan(campaign, stores)
    _record(campaign, todo, stores)
    relabel_maker = RelabelMaker(
        symprec=campaign.structures.symprec, origin=campaign.structures.origin
    )
    parameters = campaign.simulation.simulation_parameters
    workflows = []
    for member in todo.new:
        item = todo.members[member]
        maker = SimulationFlowMaker(
            relabel_maker=relabel_maker,
            master_pattern_maker=MasterPatternMaker(
                engine=todo.engines[member],
                parameters=parameters,
                debye_waller=campaign.simulation.debye_waller,
            ),
        )
        flow = maker.make(
            item.structure, item.material_id, item.source, item.licence, campaign.name
        )
        metadata = {"campaign": campaign.name, "member": member, "material_id": item.material_id}
        workflows.append(to_workflow(flow, metadata))
    add_workflows(stores.launchpad(strm_lvl="ERROR"), workflows)
    learning = advance(stores, campaign.name)
    return replace(todo, learning=learning)


def _record(campaign: Campaign, todo: Plan, stores: Stores) -> None:
    """Write the campaign's document, with the members that other submissions already made.

    The members of a campaign that is submitted again unchanged are only added to, because workers
    may be adding theirs at the same moment.
    """
    content = campaign.model_dump(mode="json")
    config = content_hash(content)
    new = set(todo.new)
    ended = {
        item.material_id: _ended_simulation(item, campaign, todo.engines[member], stores)
        for member, item in todo.members.items()
        if member not in new
    }
    simulations = sorted({key for key in ended.values() if key is not None})
    settled = sorted(material for material, key in ended.items() if key is not None)
    old = stores.get(CampaignDocument, campaign.name)
    if old is not None and old.config_hash == config:
        stores.campaigns.update_one(
            {"key": campaign.name},
            {
                "$addToSet": {
                    "simulations": {"$each": simulations},
                    "progress.settled": {"$each": settled},
                }
            },
        )
        return
    parameters = {key: content[key] for key in ("datasets", "training", "final_model")}
    document = CampaignDocument(
        key=campaign.name,
        name=campaign.name,
        query=content["structures"] | {"description": campaign.description},
        parameters=parameters | {"simulation": content["simulation"]},
        structures=sorted({item.material_id for item in todo.members.values()}),
        simulations=simulations,
        progress={"settled": settled},
        config_hash=config,
    )
    stores.save(document)


def _ended_simulation(
    item: SourceItem, campaign: Campaign, engine: Engine, stores: Stores
) -> str | None:
    """Key of a member's simulation if that has ended; ``None`` while it is still to come."""
    from ebsdsg_flows.runstate import simulation_of

    structure = stores.get(StructureDocument, item.material_id)
    if structure is None:
        return None
    key = simulation_of(
        structure.model_dump(mode="json"),
        campaign.simulation.simulation_parameters,
        engine,
        campaign.simulation.debye_waller,
    ).key
    simulation = stores.get(SimulationDocument, key)
    return key if simulation is not None and simulation.state in FINISHED else None
