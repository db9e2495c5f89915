"""Why a label changes: the maximal subgroups from a disordered structure to the ordered one."""

from __future__ import annotations

from ebsdsg_sim.standard_structure import Disordered, StandardStructure
from ebsdsg_sim.subgroups import chain
from ebsdsg_sim.symmetry import hall_number_for, point_group_order, setting
from stores.documents import Descent


def descent(standard: StandardStructure, disordered: Disordered) -> Descent:
    """How a structure's group lies below that of its disordered form, in maximal subgroups.

    Parameters
    ----------
    standard : the structure
    disordered : the same with all atoms of one element

    Returns
    -------
    The shortest chain of group types with the indices that the two have; its kind is ``unknown``
    if there is none, which a search at too large a tolerance can bring about.
    """
    top, bottom = disordered.space_group, standard.space_group
    cells, rest = divmod(standard.n_atoms_primitive, disordered.n_atoms_primitive)
    orders = point_group_order(top) // point_group_order(bottom)
    way = None if rest or not cells else chain(top, bottom, cells)
    symbols = [setting(hall_number_for(group)).international for group in (bottom, top)]
    if way is None:
        return Descent(
            kind="unknown",
            k_index=max(cells, 1),
            t_index=max(orders, 1),
            groups=[],
            text=f"no chain of maximal subgroups leads from {symbols[1]} ({top}) to {symbols[0]} "
            f"({bottom}) with {standard.n_atoms_primitive} atoms in the primitive cell for "
            f"{disordered.n_atoms_primitive}",
        )
    return Descent(
        kind=way.kind,
        k_index=way.k_index,
        t_index=way.t_index,
        groups=[top, *(step.subgroup for step in way.steps)],
        text=str(way),
    )
