"""What a submission would add: the members of a campaign, and which of them are missing.

A member of a campaign is identified by the hash of its structure as the source gives it and of
everything that makes its master pattern.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ebsdsg_flows.left_out import was_left_out
from stores.identity import content_hash

if TYPE_CHECKING:
    from ebsdsg_flows.campaign import Campaign
    from ebsdsg_flows.engines import Engine
    from ebsdsg_flows.estimate import Estimate
    from ebsdsg_flows.sources import SourceItem
    from stores.collections import Stores

REFUSALS_SHOWN = 10


@dataclass(frozen=True)
class PlannedMember:
    """One structure of a campaign with what is made of it.

    Parameters
    ----------
    item : structure as its source gives it.
    engine : what simulates it.
    debye_waller : factor of every atom [nm^2], or limits and seed.
    variant : empty, or the name of the campaign's variant.
    volume : of the cell as given [Å^3].
    priority : of its jobs.
    """

    item: SourceItem
    engine: Engine
    debye_waller: float | dict[str, float]
    variant: str
    volume: float
    priority: int

    @property
    def material_id(self) -> str:
        """Identifier of the structure."""
        return self.item.material_id


@dataclass(frozen=True)
class Plan:
    """What a submission adds.

    Parameters
    ----------
    campaign : name.
    members : member hash to member, of the whole campaign.
    new : hashes of the members that have no workflow yet, in the order of their priority.
    refused : identifier and reason of the structures of the source that cannot be used.
    completed : number of the members that have a workflow and are completed.
    estimate : what the new ones will take, if that was asked for.
    learning : whether the learning workflow can be added at once.
    note : what else a person should know.
    """

    campaign: str
    members: dict[str, PlannedMember]
    new: tuple[str, ...]
    refused: tuple[tuple[str, str], ...] = ()
    completed: int = field(default=0, compare=False)
    estimate: Estimate | None = field(default=None, compare=False)
    learning: bool = field(default=False, compare=False)
    note: str = field(default="", compare=False)

    def __str__(self) -> str:
        there = len(self.members) - len(self.new)
        materials = {member.material_id for member in self.members.values()}
        lines = [
            f"campaign {self.campaign}: {len(materials)} structures, "
            f"{len(self.new)} new simulations, {there} already there"
            + (f" ({self.completed} of them completed)" if self.completed else "")
        ]
        names = Counter(member.engine.name for member in self.members.values())
        if len(names) > 1:
            lines.append("  by " + ", ".join(f"{name}: {n}" for name, n in sorted(names.items())))
        variants = Counter(member.variant for member in self.members.values())
        if len(variants) > 1:
            parts = (f"{name or 'usual'}: {n}" for name, n in sorted(variants.items()))
            lines.append("  variants: " + ", ".join(parts))
        if self.new:
            n_monte_carlos, n_patterns = self.stages
            lines.append(f"  new by stage: {n_monte_carlos} Monte Carlos, {n_patterns} patterns")
        if self.estimate is not None:
            lines.append(f"  {self.estimate}")
        refused = self.refused[:REFUSALS_SHOWN]
        lines += [f"  refused {identifier}: {reason}" for identifier, reason in refused]
        if len(self.refused) > REFUSALS_SHOWN:
            lines.append(f"  … {len(self.refused)} refused in all")
        if self.learning:
            lines.append("  all simulations have ended: learning was added")
        if self.note:
            lines.append(f"  {self.note}")
        return "\n".join(lines)

    @property
    def stages(self) -> tuple[int, int]:
        """Monte Carlos and master patterns of the new members.

        An engine that keeps its Monte Carlos computes one for all variants of a structure.
        """
        new = [self.members[key] for key in self.new]
        kept = {
            (m.material_id, m.engine.physics_version) for m in new if m.engine.keeps_monte_carlo
        }
        return len(kept) + sum(not m.engine.keeps_monte_carlo for m in new), len(new)


def member_hash(
    item: SourceItem,
    campaign: Campaign,
    engine: Engine,
    debye_waller: float | dict[str, float],
    *,
    left_out: bool = False,
) -> str:
    """Identity of one member of a campaign.

    Parameters
    ----------
    item : structure.
    campaign : with what it is simulated.
    engine : by what.
    debye_waller : factor of every atom [nm^2], or limits and seed.
    left_out : the identity of before, of a file without parameters; see
        :mod:`ebsdsg_flows.left_out`.
    """
    return content_hash(
        {
            "structure": item.values,
            "symprec": campaign.structures.symprec,
            **_origin_of(campaign),
            "debye_waller": debye_waller,
            "parameters": {} if left_out else campaign.simulation.parameters,
            "engine": [engine.name, engine.physics_version],
        }
    )


def _origin_of(campaign: Campaign) -> dict[str, str]:
    """The origin provider, where it is not the usual one: older members keep their identity."""
    origin = campaign.structures.origin
    return {} if origin == "spglib" else {"origin": origin}


def plan(campaign: Campaign, stores: Stores, *, estimate: bool = True) -> Plan:
    """Find out what a submission would add, without adding it.

    Parameters
    ----------
    campaign : as its file says it.
    stores : open database.
    estimate : also say what it would take.

    Raises
    ------
    ebsdsg_flows.structures.StructureError
        If the source is one structure and that cannot be used.
    ebsdsg_flows.sources.SourceError
        If the source does not exist or holds no usable structure, or an override names one that
        is not in it.
    ebsdsg_flows.datasets.MissingPattern
        If the target of an adaptation is not there.
    """
    from ebsdsg_flows.adaptation import target_path
    from ebsdsg_flows.estimate import estimate_cost
    from ebsdsg_flows.workflows import known_members

    for adaptation in campaign.adaptation.values():
        if adaptation.target not in campaign.datasets:
            target_path(stores, adaptation.target)
    members, refused = _members(campaign, stores)
    launchpad = stores.launchpad(strm_lvl="ERROR")
    known = known_members(launchpad, members, campaign.name)
    if was_left_out("parameters", campaign.simulation.parameters):
        older = {
            member_hash(m.item, campaign, m.engine, m.debye_waller, left_out=True): key
            for key, m in members.items()
            if key not in known
        }
        before = known_members(launchpad, older, campaign.name)
        names = {older[name]: name for name in before}
        members = {names.get(key, key): member for key, member in members.items()}
        known |= before
    missing = [member for member in members if member not in known]
    new = tuple(sorted(missing, key=lambda member: -members[member].priority))
    cost = None
    if estimate and new:
        cost = estimate_cost(stores, campaign, [members[member] for member in new])
    return Plan(campaign.name, members, new, refused, sum(known.values()), cost)


def _members(
    campaign: Campaign, stores: Stores
) -> tuple[dict[str, PlannedMember], tuple[tuple[str, str], ...]]:
    """All members of a campaign, and what its source holds that cannot be used."""
    from ebsdsg_flows.atoms import StructureError
    from ebsdsg_flows.sources import SourceError, read_sources

    items, refused = read_sources(campaign.structures, stores)
    there = {item.material_id for item in items}.union(identifier for identifier, _ in refused)
    named = {name for override in campaign.simulation.overrides for name in override.materials}
    if absent := sorted(named - there):
        raise SourceError(
            f"simulation.overrides names {', '.join(absent)}, not a structure of this campaign"
        )
    all_engines = campaign.simulation.make_engines()
    members: dict[str, PlannedMember] = {}
    for item in items:
        try:
            engine = _engine_of(item, campaign, all_engines)
            wanted = _debye_waller_factors(item, campaign)
        except StructureError as error:
            refused = (*refused, (item.material_id, str(error)))
            continue
        volume = cell_volume(item)
        priority = campaign.queue.priority_of(volume)
        for variant, factor in wanted.items():
            member = member_hash(item, campaign, engine, factor)
            # two rows that are one structure, or a variant equal to the usual, are one member
            members.setdefault(
                member, PlannedMember(item, engine, factor, variant, volume, priority)
            )
    return members, refused


def _debye_waller_factors(
    item: SourceItem, campaign: Campaign
) -> dict[str, float | dict[str, float]]:
    """Variant (empty for the usual) to Debye-Waller factor, of the variants a structure is in."""
    from ebsdsg_flows.sources import space_group_of

    factors: dict[str, float | dict[str, float]] = {"": campaign.simulation.debye_waller}
    for name, variant in campaign.variants.items():
        symprec = campaign.structures.symprec
        if not variant.groups or space_group_of(item, symprec) in variant.groups:
            given = variant.debye_waller
            factors[name] = given if isinstance(given, float | int) else given.model_dump()
    return factors


def _engine_of(item: SourceItem, campaign: Campaign, engines: Sequence[Engine]) -> Engine:
    """Which of the campaign's engines simulates a structure."""
    from ebsdsg_flows.sources import space_group_of

    def space_group() -> int:
        return space_group_of(item, campaign.structures.symprec)

    return engines[campaign.simulation.engine_number(item.material_id, space_group)]


def cell_volume(item: SourceItem) -> float:
    """Volume of the cell as the source gives it [Å^3]."""
    lattice: Any = item.values.get("lattice") or {}
    matrix = lattice.get("matrix")
    if matrix is None:
        return float(item.structure.volume)
    return float(abs(np.linalg.det(np.asarray(matrix, dtype=float))))
