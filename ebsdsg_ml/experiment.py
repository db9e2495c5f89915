"""The phases of the paper's experiment, which its test set is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ebsdsg_ml.composition import CompositionError, proportions
from ebsdsg_ml.pattern_source import DatasetError, PatternSource


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
        formula : of the structure, in any spelling and any multiple.
        space_group : its true space group.
        """
        return space_group == self.space_group and proportions(formula) == proportions(self.formula)


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


def experiment_phases(sources: Mapping[str, PatternSource], left_out: dict[str, str]) -> set[str]:
    """Find the phases of the experiment among the sources.

    Parameters
    ----------
    sources : by phase id.
    left_out : gets a row for every phase of the experiment that is not there, and for every other
        entry of a compound that is.

    Returns
    -------
    Ids of the phases.

    Raises
    ------
    DatasetError
        If none is there, or one may be any of several entries.
    """
    phases: set[str] = set()
    for wanted in EXPERIMENT:
        try:
            found = [
                phase
                for phase, s in sources.items()
                if wanted.is_compound(s.formula, s.labels.get("true"))
            ]
        except CompositionError as error:
            raise DatasetError(f"the test set cannot be told apart: {error}") from None
        name = f"{wanted.formula} {wanted.space_group} (experiment)"
        if not found:
            left_out[name] = "no master pattern of it among the sources"
            continue
        if len(found) > 1 and wanted.material_id not in found:
            raise DatasetError(
                f"{name} may be any of {', '.join(found)}: name the test phases by their ids"
            )
        choice = found[0] if len(found) == 1 else str(wanted.material_id)
        phases.add(choice)
        left_out |= {
            phase: f"another entry of the test phase {choice}" for phase in found if phase != choice
        }
    if not phases:
        raise DatasetError("none of the phases of the experiment is among the sources")
    return phases
