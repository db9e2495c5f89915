"""The station where a structure gets its labels: standardised, checked, relabelled, stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from jobflow import Maker, Response, job

if TYPE_CHECKING:
    from pymatgen.core import Structure


@dataclass
class RelabelMaker(Maker):
    """Standardise a structure and find its space group before and after disordering.

    Parameters
    ----------
    name : of the job.
    symprec : tolerance of the symmetry search [Angstrom].
    origin : who chooses axes and origin, see :func:`ebsdsg_flows.structures.structure_document`.
    """

    name: str = "relabel"
    symprec: float = 0.1
    origin: Literal["spglib", "findsym"] = "spglib"

    @job
    def make(
        self,
        structure: Structure,
        material_id: str,
        source: dict[str, str] | None = None,
        licence: str = "unknown",
        campaign: str | None = None,
    ) -> dict[str, Any] | Response:
        """Make and store the structure's document, unless the database has it.

        Parameters
        ----------
        structure : any setting of the cell.
        material_id : key of the document.
        source : ``kind``, ``identifier`` and ``reference`` of the structure's origin.
        licence : under which it may be used.
        campaign : name of the campaign that it is a member of; a structure that cannot be used is
            recorded there, with the reason, and its flow ends.

        Returns
        -------
        The structure's document as plain JSON types.

        Raises
        ------
        ebsdsg_flows.atoms.StructureError
            If the structure cannot be used and belongs to no campaign.
        """
        from ebsdsg_flows.advance import settle
        from ebsdsg_flows.atoms import StructureError
        from ebsdsg_flows.builders.one_structure import structure_in
        from ebsdsg_flows.session import open_stores

        stores = open_stores()
        try:
            document = structure_in(
                stores,
                structure,
                material_id,
                source=source,
                licence=licence,
                symprec=self.symprec,
                origin=self.origin,
            )
        except StructureError as error:
            if campaign is None:
                raise
            settle(stores, campaign, material_id, skipped=str(error))
            return Response(output={"skipped": str(error)}, stop_children=True)
        stores.save(document)
        return document.model_dump(mode="json")
