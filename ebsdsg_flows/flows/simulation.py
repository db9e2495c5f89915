"""One structure's way to its master pattern: conventional cell, labels, simulation.

Where the Monte Carlo is a job of its own, a worker with a GPU can take it and leave the master
pattern to one with many cores.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from atomate2.common.jobs.utils import structure_to_conventional, structure_to_primitive
from jobflow import Flow, Job, Maker

from ebsdsg_flows.atoms import atoms_of
from ebsdsg_flows.jobs.simulations import MasterPatternMaker, MonteCarloMaker
from ebsdsg_flows.jobs.structures import RelabelMaker
from ebsdsg_flows.structures import input_hash

if TYPE_CHECKING:
    from pymatgen.core import Structure


@dataclass
class SimulationFlowMaker(Maker):
    """From a structure in any setting to its master pattern.

    The cell is first reduced to the primitive one, so that a supercell costs no more than its
    primitive cell, and then made conventional; both by atomate2's jobs.

    Parameters
    ----------
    name : of the flow.
    relabel_maker : gives the labels.
    monte_carlo_maker : computes the Monte Carlo in a job of its own before; ``None`` leaves it to
        the master pattern's.
    master_pattern_maker : simulates.
    specs : stage (``structure``, ``monte_carlo``, ``master_pattern``) to entries of the spec of its
        fireworks, such as ``_category`` and ``_priority``.
    """

    name: str = "simulation"
    relabel_maker: RelabelMaker = field(default_factory=RelabelMaker)
    monte_carlo_maker: MonteCarloMaker | None = None
    master_pattern_maker: MasterPatternMaker = field(default_factory=MasterPatternMaker)
    specs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def make(
        self,
        structure: Structure,
        material_id: str,
        source: dict[str, str] | None = None,
        licence: str = "unknown",
        member: str | None = None,
    ) -> Flow:
        """Join the stations for one structure.

        Parameters
        ----------
        structure : any setting of the cell.
        material_id, source, licence, member : see :meth:`RelabelMaker.make`.

        Returns
        -------
        Flow whose output is that of :meth:`MasterPatternMaker.make`.

        Raises
        ------
        ebsdsg_flows.atoms.StructureError
            If the structure is malformed.
        """
        symprec = self.relabel_maker.symprec
        primitive = structure_to_primitive(structure, symprec=symprec)
        conventional = structure_to_conventional(primitive.output, symprec=symprec)
        given_as = input_hash(
            atoms_of(structure, material_id), symprec=symprec, origin=self.relabel_maker.origin
        )
        relabel = self.relabel_maker.make(
            conventional.output, material_id, source, licence, member, given_as
        )
        stages: list[tuple[str, Job]] = [
            ("structure", primitive),
            ("structure", conventional),
            ("structure", relabel),
        ]
        ready = relabel.output
        if self.monte_carlo_maker is not None:
            monte_carlo = self.monte_carlo_maker.make(ready, member)
            stages.append(("monte_carlo", monte_carlo))
            ready = monte_carlo.output
        pattern = self.master_pattern_maker.make(ready, member)
        stages.append(("master_pattern", pattern))
        for stage, part in stages:
            part.append_name(f"{material_id} ", prepend=True)
            part.config.manager_config = dict(self.specs.get(stage, {}))
        jobs: list[Flow | Job] = [part for _, part in stages]
        return Flow(jobs, output=pattern.output, name=f"{self.name} {material_id}")
