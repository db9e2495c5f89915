"""One structure's way to its master pattern: conventional cell, labels, simulation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atomate2.common.jobs.utils import structure_to_conventional, structure_to_primitive
from jobflow import Flow, Job, Maker

from ebsdsg_flows.jobs.simulations import MasterPatternMaker
from ebsdsg_flows.jobs.structures import RelabelMaker

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
    master_pattern_maker : simulates.
    """

    name: str = "simulation"
    relabel_maker: RelabelMaker = field(default_factory=RelabelMaker)
    master_pattern_maker: MasterPatternMaker = field(default_factory=MasterPatternMaker)

    def make(
        self,
        structure: Structure,
        material_id: str,
        source: dict[str, str] | None = None,
        licence: str = "unknown",
        campaign: str | None = None,
    ) -> Flow:
        """Join the stations for one structure.

        Parameters
        ----------
        structure : any setting of the cell.
        material_id, source, licence, campaign : see :meth:`RelabelMaker.make`.

        Returns
        -------
        Flow whose output is that of :meth:`MasterPatternMaker.make`.
        """
        symprec = self.relabel_maker.symprec
        primitive = structure_to_primitive(structure, symprec=symprec)
        conventional = structure_to_conventional(primitive.output, symprec=symprec)
        relabel = self.relabel_maker.make(
            conventional.output, material_id, source, licence, campaign
        )
        pattern = self.master_pattern_maker.make(relabel.output, campaign)
        jobs: list[Flow | Job] = [primitive, conventional, relabel, pattern]
        for part in jobs:
            part.append_name(f"{material_id} ", prepend=True)
        return Flow(jobs, output=pattern.output, name=f"{self.name} {material_id}")
