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
        member: str | None = None,
        given_as: str | None = None,
    ) -> dict[str, Any] | Response:
        """Make and store the structure's document, unless the database has it.

        Parameters
        ----------
        structure : any setting of the cell.
        material_id : key of the document.
        source : ``kind``, ``identifier`` and ``reference`` of the structure's origin.
        licence : under which it may be used.
        member : key of the member of a campaign that it is; a structure that cannot be used is
            recorded there, with the reason, and its flow ends.
        given_as : hash of the structure as its source gives it, see
            :func:`ebsdsg_flows.structures.input_hash`; a stored document made of the same is used.

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
                given_as=given_as,
            )
        except StructureError as error:
            if member is None:
                raise
            settle(stores, member, unusable=str(error))
            return Response(output={"skipped": str(error)}, stop_children=True)
        return document.model_dump(mode="json")
