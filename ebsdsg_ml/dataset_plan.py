"""What a recipe makes of the phases at hand: which are used, in which fold, how many patterns.

Everything that can be refused is refused here, before a pattern is made: unusable sources, classes
without phases, folds that leak.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ebsdsg_ml.composition import CompositionError, one_spelling
from ebsdsg_ml.exclusion import ExclusionError
from ebsdsg_ml.experiment import experiment_phases
from ebsdsg_ml.leaks import FoldMember, LeakReport, leak_report
from ebsdsg_ml.pattern_source import DatasetError, PatternSource
from ebsdsg_ml.recipe import EXPERIMENT_SET, DatasetRecipe
from ebsdsg_ml.shares import patterns_per_phase, patterns_per_phase_and_fold
from ebsdsg_ml.splits import TEST, SplitError, group_folds


@dataclass(frozen=True)
class PlannedPhase:
    """One master pattern's part in a data set.

    Parameters
    ----------
    source : the master pattern.
    set : name of its set of Debye-Waller factors, empty where there is only one.
    label : class, a space-group number.
    fold : fold, or :data:`ebsdsg_ml.splits.TEST`.
    n_patterns : number of patterns.
    """

    source: PatternSource
    set: str
    label: int
    fold: int
    n_patterns: int

    @property
    def stream(self) -> str:
        """Phase and set as one text: what the orientations follow from."""
        return f"{self.source.phase}\x1f{self.set}" if self.set else self.source.phase


@dataclass(frozen=True)
class DatasetPlan:
    """A recipe applied to sources.

    Parameters
    ----------
    recipe : the recipe.
    phases : sorted by set (that of the recipe's first, the tested one, before the others), then id.
    left_out : phases not used, with the reason.
    leaks : the proof of disjointness.
    """

    recipe: DatasetRecipe
    phases: tuple[PlannedPhase, ...]
    left_out: dict[str, str]
    leaks: LeakReport

    @property
    def n_patterns(self) -> int:
        """Patterns of the whole data set (of one epoch, if they are made on the fly)."""
        return sum(phase.n_patterns for phase in self.phases)

    def counts(self) -> dict[int, int]:
        """Patterns by class, without the test set."""
        counts: Counter[int] = Counter(dict.fromkeys(self.recipe.class_numbers, 0))
        for phase in self.phases:
            if phase.fold != TEST:
                counts[phase.label] += phase.n_patterns
        return dict(counts)

    def fold_counts(self) -> dict[int, dict[int, int]]:
        """Patterns by fold (the test set's number among them) and class."""
        counts: dict[int, Counter[int]] = defaultdict(Counter)
        for phase in self.phases:
            counts[phase.fold][phase.label] += phase.n_patterns
        return {fold: dict(sorted(c.items())) for fold, c in sorted(counts.items())}

    def content(self) -> dict[str, Any]:
        """What fixes the content: the recipe without its choices, and what was chosen."""
        return {
            "recipe": self.recipe.content(),
            "phases": [
                [p.source.phase, p.set, p.label, p.n_patterns if p.fold == TEST else None]
                for p in self.phases
            ],
        }

    def sha256(self) -> str:
        """Digest of the plan with the master patterns' files, hexadecimal."""
        rows = [
            [p.source.phase, p.set, p.label, p.fold, p.n_patterns, p.source.sha256]
            for p in self.phases
        ]
        text = json.dumps([self.recipe.to_dict(), rows], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def plan_dataset(recipe: DatasetRecipe, sources: Sequence[PatternSource]) -> DatasetPlan:
    """Apply a recipe to the phases there are.

    Parameters
    ----------
    recipe : what to make.
    sources : master patterns, in any order.

    Raises
    ------
    LeakError
        If two folds share what the split promises to separate; names the phases.
    SplitError, RecipeError
        If the phases do not allow the folds or the totals asked for.
    DatasetError
        If a phase is given twice or cannot be judged, a phase named in the recipe is not there, or
        a class has no phase.
    """
    sets, left_out = _by_set(recipe, sources)
    base = sets[recipe.sets[0]]
    _named_phases_exist(recipe, base)
    test = _test_phases(recipe, base, left_out)
    chosen: dict[str, PatternSource] = {}
    for phase, source in base.items():
        reason = _reason_to_leave_out(recipe, source, phase in test)
        if reason is None and phase not in left_out:
            chosen[phase] = source
        elif reason is not None:
            left_out[phase] = reason
    labels = {phase: _label(recipe, source) for phase, source in chosen.items()}
    training = {phase: label for phase, label in labels.items() if phase not in test}
    empty = sorted(set(recipe.class_numbers) - set(training.values()))
    if empty:
        gone = [p for p, s in base.items() if s.labels.get(recipe.label) in empty]
        why = "; ".join(f"{p}: {left_out.get(p, 'in the test set')}" for p in gone[:10])
        raise DatasetError(
            f"no phase for space group(s) {', '.join(map(str, empty))}"
            + (f" ({why})" if why else "")
        )
    folds = group_folds(training, _groups(recipe, chosen), recipe.n_folds, recipe.seed)
    folds |= dict.fromkeys((phase for phase in chosen if phase in test), TEST)
    phases = []
    for name in recipe.sets:
        members = {p: s for p, s in sets[name].items() if p in chosen}
        if name != recipe.sets[0]:
            members = {p: s for p, s in members.items() if p not in test}
            left_out |= {
                f"{p} ({name})": f"has no pattern in the set {recipe.sets[0]}"
                for p in sorted(set(sets[name]) - set(base))
            }
        counts = _shares(recipe, {p: labels[p] for p in members if p not in test}, folds)
        counts |= {p: int(recipe.test["patterns"]) for p in members if p in test}
        phases += [
            PlannedPhase(source, name, labels[p], folds[p], counts[p])
            for p, source in sorted(members.items())
        ]
    report = leak_report(
        [
            FoldMember(
                p.source.phase, p.fold, p.source.sha256, p.source.formula, p.source.prototype
            )
            for p in phases
        ],
        recipe.split,
    )
    report.raise_if_leaking()
    return DatasetPlan(recipe, tuple(phases), dict(sorted(left_out.items())), report)


def _by_set(
    recipe: DatasetRecipe, sources: Sequence[PatternSource]
) -> tuple[dict[str, dict[str, PatternSource]], dict[str, str]]:
    """Sources by set and phase, and those that belong to no set."""
    sets: dict[str, dict[str, PatternSource]] = {name: {} for name in recipe.sets}
    left_out: dict[str, str] = {}
    for source in sorted(sources, key=lambda s: (s.phase, s.sha256)):
        name: str | None = ""
        if recipe.debye_waller:
            if source.debye_waller is None:
                raise DatasetError(
                    f"{source.phase}: its Debye-Waller factors are not known, so it cannot be told "
                    "which set it belongs to"
                )
            lowest, highest = source.debye_waller
            name = next(
                (n for n, (a, b) in recipe.debye_waller.items() if a <= lowest and highest <= b),
                None,
            )
        if name is None:
            left_out[f"{source.phase} ({source.sha256[:8]})"] = (
                f"Debye-Waller factors {lowest:g} to {highest:g} nm^2 belong to no set"
            )
        elif source.phase in sets[name]:
            where = f" in the set {name}" if name else ""
            raise DatasetError(
                f"phase(s) given more than once{where}: {source.phase}; name the sets with the "
                "entry debye_waller, or choose the simulations of one campaign"
            )
        else:
            sets[name][source.phase] = source
    return sets, left_out


def _named_phases_exist(recipe: DatasetRecipe, sources: Mapping[str, PatternSource]) -> None:
    absent = sorted(set(recipe.exclude.phases) - set(sources))
    if absent:
        raise DatasetError(f"excluded phase(s) not among the sources: {', '.join(absent)}")
    if recipe.test and recipe.test["phases"] != EXPERIMENT_SET:
        absent = sorted(set(recipe.test["phases"]) - set(sources))
        if absent:
            raise DatasetError(f"test phase(s) not among the sources: {', '.join(absent)}")


def _test_phases(
    recipe: DatasetRecipe, sources: Mapping[str, PatternSource], left_out: dict[str, str]
) -> set[str]:
    """Ids of the test phases; other entries of the same compounds are left out."""
    if not recipe.test:
        return set()
    if recipe.test["phases"] != EXPERIMENT_SET:
        return set(recipe.test["phases"])
    return experiment_phases(sources, left_out)


def _reason_to_leave_out(recipe: DatasetRecipe, source: PatternSource, in_test: bool) -> str | None:
    label = source.labels.get(recipe.label)
    try:
        excluded = recipe.exclude.reason(source.phase, source.formula, source.prototype)
    except (ExclusionError, CompositionError) as error:
        raise DatasetError(str(error)) from None
    if excluded is not None and not in_test:  # what is kept from training may still be asked for
        return excluded
    if label is None:
        return f"has no {recipe.label} label"
    if label not in recipe.class_numbers:
        return f"space group {label} is not among the classes"
    return None


def _label(recipe: DatasetRecipe, source: PatternSource) -> int:
    label = source.labels[recipe.label]
    assert label is not None, "phases without one were left out"
    return label


def _groups(recipe: DatasetRecipe, chosen: Mapping[str, PatternSource]) -> dict[str, str]:
    """What keeps phases together: prototype, composition, or being entries of one compound."""
    if recipe.split == "prototype":
        unknown = sorted(phase for phase, s in chosen.items() if s.prototype is None)
        if unknown:
            raise SplitError(f"no prototype is known of {', '.join(unknown)}")
        return {phase: str(s.prototype) for phase, s in chosen.items()}
    names = one_spelling(s.formula for s in chosen.values())
    if recipe.split == "composition":
        return {phase: names[s.formula] for phase, s in chosen.items()}
    compounds = {
        phase: phase if s.prototype is None else f"{names[s.formula]} {s.prototype}"
        for phase, s in chosen.items()
    }
    members = Counter(compounds.values())
    return {p: p if members[compound] == 1 else compound for p, compound in compounds.items()}


def _shares(
    recipe: DatasetRecipe, labels: Mapping[str, int], folds: Mapping[str, int]
) -> dict[str, int]:
    if recipe.split == "phase":
        return patterns_per_phase(labels, recipe.patterns_per_class, recipe.seed)
    return patterns_per_phase_and_fold(
        labels, folds, recipe.n_folds, recipe.patterns_per_class, recipe.seed
    )
