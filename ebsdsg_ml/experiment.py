"""The phases of the paper's experiment, which its test set is made of."""

from __future__ import annotations

from dataclasses import dataclass

from ebsdsg_ml.composition import composition


@dataclass(frozen=True)
class ExperimentPhase:
    """One phase of the experiment.

    Parameters
    ----------
    formula : reduced.
    space_group : true space group.
    material_id : entry of the Materials Project that is this phase; None where there is none.
    """

    formula: str
    space_group: int
    material_id: str | None

    def is_compound(self, formula: str, space_group: int | None) -> bool:
        """Tell whether a structure is this compound in this space group, whatever entry it is.

        Parameters
        ----------
        formula : reduced formula of the structure.
        space_group : its true space group.
        """
        return space_group == self.space_group and composition(formula) == composition(self.formula)


EXPERIMENT = (
    ExperimentPhase("FeNi3", 221, "mp-1418"),
    ExperimentPhase("Ni3Al", 221, "mp-2593"),
    ExperimentPhase("NiAl", 221, "mp-1487"),
    ExperimentPhase("FeAl", 221, "mp-2658"),
    ExperimentPhase("Mo3Si", 223, "mp-1275"),
    ExperimentPhase("Cr3Si", 223, "mp-729"),
    ExperimentPhase("TaC", 225, "mp-1086"),
    ExperimentPhase("NbC", 225, "mp-910"),
    ExperimentPhase("TiC", 225, "mp-631"),
    ExperimentPhase("Ni", 225, "mp-23"),
    ExperimentPhase("Al", 225, "mp-134"),
    ExperimentPhase("Ge", 227, "mp-32"),
    ExperimentPhase("Si", 227, "mp-149"),
    ExperimentPhase("W", 229, "mp-91"),
    ExperimentPhase("Ta", 229, "mp-50"),
    ExperimentPhase("Fe", 229, "mp-13"),
    ExperimentPhase("Al4Ni3", 230, "mp-16515"),
    ExperimentPhase("Al4CoNi2", 230, None),
)
"""The 18 phases with their true space groups and Materials Project entries."""
