"""The document of one structure, made only if the database does not have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.atoms import StructureError, atoms_of
from ebsdsg_flows.structures import (
    SYMPREC,
    OriginProvider,
    input_hash,
    source_of,
    structure_document,
)
from stores.documents import Source, StructureDocument, UnusableStructureDocument
from stores.refusals import forget_refusal

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from stores.collections import Stores


def structure_in(
    stores: Stores,
    structure: Structure | Mapping[str, Any],
    material_id: str,
    *,
    source: Source | Mapping[str, str] | None = None,
    licence: str = "unknown",
    symprec: float = SYMPREC,
    origin: OriginProvider = "spglib",
    given_as: str | None = None,
) -> StructureDocument:
    """The document of a structure: the stored one if it was made of the same, else a new one.

    Parameters
    ----------
    stores : open database
    structure, material_id, source, licence, symprec, origin : of `structure_document`
    given_as : `input_hash` of the structure as its source gives it, where this is another cell of
        it; ``None`` takes that of ``structure``

    Returns
    -------
    The document as it is in the database now.

    Raises
    ------
    StructureError
        If the structure cannot be used; the reason is stored as an `UnusableStructureDocument`.
    """
    source = source_of(source, material_id)
    try:
        atoms = atoms_of(structure, material_id)
        made_of = given_as or input_hash(atoms, symprec=symprec, origin=origin)
        stored = stores.get(StructureDocument, material_id)
        if stored is not None and stored.input_hash == made_of:
            forget_refusal(stores, material_id)
            return stored
        document = structure_document(
            atoms, material_id, source=source, licence=licence, symprec=symprec, origin=origin
        )
    except StructureError as error:
        stores.save(
            UnusableStructureDocument(
                key=material_id,
                material_id=material_id,
                reason=str(error),
                kind="refused",
                symprec=symprec,
                source=source,
                licence=licence,
            )
        )
        raise
    document.input_hash = made_of
    stores.save(document)
    forget_refusal(stores, material_id)
    return document
