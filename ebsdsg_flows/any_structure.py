"""One structure by whatever name it has: a CIF file, a pymatgen object, an identifier."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.atoms import StructureError
from ebsdsg_flows.structures import SYMPREC, document_from_cif, structure_document
from stores.documents import SourceStructureDocument, StructureDocument, UnusableStructureDocument
from stores.refusals import hides
from stores.states import State

if TYPE_CHECKING:
    from pymatgen.core import Structure


def read_structure(
    source: str | os.PathLike[str] | Structure | Mapping[str, Any], *, symprec: float = SYMPREC
) -> StructureDocument:
    """A structure, standardised and with both of its space groups.

    Parameters
    ----------
    source : CIF file; pymatgen ``Structure`` or its dictionary; or identifier, such as
        ``"mp-2593"``, of a structure or an imported entry of the database.  An identifier of the
        Materials Project that the database does not have is imported, which needs a key.
    symprec : tolerance of the symmetry search [Å]; a structure that the database has keeps its own.

    Returns
    -------
    Its document; ``why`` explains the relabelled group, ``crystal`` goes to
    :meth:`ebsdsg_sim.crystal.Crystal.from_dict`.

    Raises
    ------
    StructureError
        If there is no such structure, or it cannot be used.
    ebsdsg_flows.imports.ImportFailed
        If it had to be imported and there is no key, or the Materials Project gave no answer.
    """
    if not isinstance(source, (str, os.PathLike)):
        return structure_document(source, "structure", symprec=symprec)
    path = Path(source)
    if path.is_file() or path.suffix or len(path.parts) > 1:
        return document_from_cif(path, symprec=symprec)
    return _of_database(str(source), symprec)


def _of_database(material_id: str, symprec: float) -> StructureDocument:
    from ebsdsg_flows.builders.entries import label_entry
    from ebsdsg_flows.session import open_stores

    stores = open_stores()
    known = stores.get(StructureDocument, material_id)
    if known is not None:
        refusal = stores.get(UnusableStructureDocument, material_id)
        if refusal is not None and hides(refusal.to_mongo(), known.to_mongo()):
            raise StructureError(refusal.reason)
        return known
    entry = stores.get(SourceStructureDocument, material_id)
    if entry is None and material_id.startswith(("mp-", "mvc-")):
        entry = _imported(material_id)
    if entry is None:
        raise StructureError(
            f"{material_id!r} is no file, and neither a structure nor an imported entry of the "
            f"database: give a CIF file, or import it (`ebsdsg import`)"
        )
    made = label_entry(entry.to_mongo(), symprec)
    if "unusable" in made:
        raise StructureError(made["unusable"]["reason"])
    return StructureDocument.from_mongo(made["structure"])


def _imported(material_id: str) -> SourceStructureDocument | None:
    """Entry fetched from the Materials Project; what kept it from coming is raised."""
    from ebsdsg_flows.campaign import StructureQuery
    from ebsdsg_flows.imports import ImportFailed, MaterialsProject, import_materials_project
    from ebsdsg_flows.session import open_stores
    from ebsdsg_flows.settings import get_settings
    from ebsdsg_flows.sources import MATERIALS_PROJECT

    stores = open_stores()
    query = StructureQuery(source=MATERIALS_PROJECT, materials=(material_id,))
    client = MaterialsProject.from_settings(get_settings())
    document = import_materials_project(stores, query, client)
    if document.state is not State.COMPLETED:
        reasons = dict.fromkeys(part.reason for part in document.missing)
        raise ImportFailed(f"{material_id} could not be imported: {'; '.join(reasons)}")
    if document.refused:
        raise StructureError(document.refused[-1].reason)
    return stores.get(SourceStructureDocument, material_id)
