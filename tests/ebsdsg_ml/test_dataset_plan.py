"""What a recipe makes of the phases there are, before a pattern is made."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest

from ebsdsg_ml.dataset_plan import DatasetPlan, plan_dataset
from ebsdsg_ml.leaks import LeakError
from ebsdsg_ml.pattern_source import DatasetError, PatternSource
from ebsdsg_ml.recipe import DatasetRecipe
from ebsdsg_ml.splits import TEST, SplitError, group_folds

FCC, BCC, ROCK_SALT, FLUORITE = "A_cF4_225_4", "A_cI2_229_2", "AB_cF8_225_4_4", "AB2_cF12_225_4_8"
L12, CSCL = "AB3_cP4_221_1_3", "AB_cP2_221_1_1"
PHASES = [
    *((element, FCC, 225, 225) for element in ("Ni", "Al", "Cu", "Ag")),
    *((element, BCC, 229, 229) for element in ("W", "Ta", "Fe", "Cr")),
    *((formula, L12, 221, 225) for formula in ("FeNi3", "AlNi3", "Cu3Au")),
    *((formula, CSCL, 221, 229) for formula in ("AlNi", "CuZn", "AlFe")),
    *((formula, FLUORITE, 225, 225) for formula in ("CaF2", "BaF2", "Mg2Si")),
]


def source(formula: str, prototype: str | None, true: int, new: int, b: float = 0.004) -> Any:
    return PatternSource(
        phase=f"mp-{formula}",
        formula=formula,
        labels={"true": true, "relabelled": new},
        path=Path(f"/nowhere/{formula}.h5"),
        sha256=hashlib.sha256(f"{formula}{b}".encode()).hexdigest(),
        prototype=prototype,
        debye_waller=(b, b + 0.001),
    )


SOURCES = [source(*phase) for phase in PHASES]


def plan(sources: list[PatternSource] = SOURCES, **entries: Any) -> DatasetPlan:
    values = {"label": "relabelled", "classes": [225, 229], "patterns_per_class": 60, "n_folds": 2}
    return plan_dataset(DatasetRecipe.from_dict({**values, **entries}), sources)


def folds_of(planned: DatasetPlan, key: str) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for phase in planned.phases:
        found.setdefault(getattr(phase.source, key), set()).add(phase.fold)
    return found


def test_phase_split_shares_prototypes_and_says_so() -> None:
    planned = plan()
    assert planned.counts() == {225: 60, 229: 60}
    assert planned.leaks.empty and planned.leaks.split == "phase"
    assert {o.key for o in planned.leaks.overlaps if o.kind == "prototype"} >= {FCC, BCC}
    of_225 = {p.n_patterns for p in planned.phases if p.label == 225}
    assert max(of_225) - min(of_225) <= 1


def test_prototype_split_shares_none_and_its_folds_have_equal_classes() -> None:
    planned = plan(split="prototype")
    assert all(len(folds) == 1 for folds in folds_of(planned, "prototype").values())
    assert planned.fold_counts() == {0: {225: 30, 229: 30}, 1: {225: 30, 229: 30}}
    assert planned.leaks.empty and planned.leaks.checked["prototype"] == 5
    with pytest.raises(SplitError, match=rf"229: 2 \({CSCL} with 3 phases, {BCC} with 4 phases\)"):
        plan(split="prototype", n_folds=3)
    unknown = [dataclasses.replace(s, prototype=None) for s in SOURCES[:1]]
    with pytest.raises(SplitError, match="no prototype is known of mp-Ni"):
        plan([*unknown, *SOURCES[1:]], split="prototype")


def test_composition_split_keeps_polymorphs_together() -> None:
    bcc_nickel = dataclasses.replace(source("Ni", BCC, 229, 229, b=0.006), phase="mp-other")
    for seed in range(6):
        planned = plan([*SOURCES, bcc_nickel], split="composition", seed=seed)
        assert len(folds_of(planned, "formula")["Ni"]) == 1
    apart = [len(folds_of(plan([*SOURCES, bcc_nickel], seed=s), "formula")["Ni"]) for s in range(6)]
    assert 2 in apart  # the phase split may have them apart, and reports it


def test_entries_of_one_compound_are_never_apart() -> None:
    twin = dataclasses.replace(source("Ni", FCC, 225, 225, b=0.006), phase="mp-twin")
    for seed in range(6):
        assert len(folds_of(plan([*SOURCES, twin], seed=seed), "formula")["Ni"]) == 1


@pytest.mark.parametrize("split", ["phase", "composition"])
@pytest.mark.parametrize("spelling", ["NiAl", "Ni2Al2", "Ni0.5Al0.5"])
def test_a_compound_is_the_same_in_every_spelling(split: str, spelling: str) -> None:
    twin = source(spelling, CSCL, 221, 229)
    for seed in range(6):
        planned = plan([*SOURCES, twin], split=split, seed=seed)
        folds = {p.source.phase: p.fold for p in planned.phases}
        assert folds["mp-AlNi"] == folds[f"mp-{spelling}"]


@pytest.mark.parametrize("split", ["phase", "composition"])
def test_folds_of_formulas_spelled_in_one_way_follow_from_the_spelling(split: str) -> None:
    """The deal of a data set that exists must not change, and with it its digest."""
    twin = dataclasses.replace(source("AlNi", CSCL, 221, 229, b=0.006), phase="mp-twin")
    sources = [*SOURCES, twin]
    labels = {s.phase: s.labels["relabelled"] for s in sources}
    groups = {s.phase: s.phase if split == "phase" else s.formula for s in sources}
    if split == "phase":
        groups |= dict.fromkeys(("mp-AlNi", "mp-twin"), f"AlNi {CSCL}")
    folds = {p.source.phase: p.fold for p in plan(sources, split=split).phases}
    assert folds == group_folds(labels, groups, 2)


def test_a_leak_is_refused_with_the_names() -> None:
    same = [
        dataclasses.replace(s, sha256="same") if s.formula in ("Al", "Ni") else s for s in SOURCES
    ]
    refused = []
    for seed in range(4):
        try:
            plan(same, seed=seed)
        except LeakError as error:
            refused.append(str(error))
    assert refused and all("file same (mp-Al, mp-Ni) in folds 0, 1" in text for text in refused)


def test_rules_leave_phases_out_with_their_reasons() -> None:
    planned = plan(
        exclude={"prototypes": ["fluorite"], "elements": ["Ag"], "elements_lighter_than": 14}
    )
    assert planned.left_out == {
        "mp-Ag": "element Ag is excluded by the recipe",
        "mp-Al": "Al (Z = 13) is lighter than Z = 14",
        "mp-AlFe": "Al (Z = 13) is lighter than Z = 14",
        "mp-AlNi": "Al (Z = 13) is lighter than Z = 14",
        "mp-AlNi3": "Al (Z = 13) is lighter than Z = 14",
        **{
            f"mp-{formula}": f"prototype {FLUORITE} is excluded by the recipe"
            for formula in ("CaF2", "BaF2", "Mg2Si")
        },
    }
    with pytest.raises(DatasetError, match=r"no phase for .* 229 \(mp-W: element W is excluded"):
        plan(SOURCES[:5], exclude={"elements": ["W"]})


def test_an_entry_changes_the_identity_only_with_the_content() -> None:
    content = plan().content()
    for same in (
        {"exclude": {"elements": ["U"], "prototypes": ["spinel"]}},
        {"split": "phase", "seed": 0, "test": {}},
    ):
        assert plan(**same).content() == content
    assert plan([*SOURCES, source("Si", "A_cF8_227_8", 227, 227)]).content() == content
    for other in (
        {"exclude": ["mp-Ni"]},
        {"exclude": {"elements": ["Ni"]}},
        {"test": {"phases": ["mp-Ni"]}},
        {"split": "composition"},
        {"patterns_per_class": 61},
    ):
        assert plan(**other).content() != content
    # two ways of leaving the same phase out
    assert plan(exclude=["mp-Ag"]).content() == plan(exclude={"elements": ["Ag"]}).content()


def test_the_experiments_phases_are_tested_and_not_trained_on() -> None:
    planned = plan(test={"patterns": 7}, exclude={"elements_lighter_than": 14})
    tested = {p.source.formula: p.n_patterns for p in planned.phases if p.fold == TEST}
    # aluminium's are excluded from training by the rule, and still tested
    wanted = {"FeNi3", "AlNi3", "AlNi", "AlFe", "Ni", "Al", "W", "Ta", "Fe"}
    assert tested == dict.fromkeys(wanted, 7)
    trained = {p.source.formula for p in planned.phases if p.fold != TEST}
    assert trained == {"Cu", "Ag", "Cr", "CuZn", "Cu3Au"}
    assert planned.counts() == {225: 60, 229: 60}
    assert planned.left_out["Al4CoNi2 230 (experiment)"].startswith("no master pattern")
    assert {o.key for o in planned.leaks.overlaps} == {FCC, L12, BCC, CSCL}


def test_another_entry_of_a_test_phase_is_not_trained_on() -> None:
    first, again = (
        dataclasses.replace(source("Ni", FCC, 225, 225, b), phase=phase)
        for phase, b in (("mp-23", 0.004), ("mp-999", 0.006))
    )
    planned = plan([first, again, *SOURCES[1:]], test={"phases": "experiment"})
    assert planned.left_out["mp-999"] == "another entry of the test phase mp-23"
    with pytest.raises(DatasetError, match="may be any of mp-1, mp-999: name the test phases"):
        plan([dataclasses.replace(first, phase="mp-1"), again, *SOURCES[1:]], test={"patterns": 1})
    with pytest.raises(DatasetError, match=r"test phase.* not among the sources: mp-7"):
        plan(test={"phases": ["mp-7"]})


def test_sets_of_debye_waller_factors_follow_the_folds_of_the_first() -> None:
    second = [source(*phase, b=0.006) for phase in PHASES if phase[0] != "Ni"]
    extra = source("Pd", FCC, 225, 225, b=0.006)
    sets = {"low": [0.0, 0.0055], "high": [0.0055, 0.011]}
    with pytest.raises(DatasetError, match="more than once: mp-Ag; name the sets"):
        plan([*SOURCES, *second])
    with pytest.raises(Exception, match="overlap"):
        plan([*SOURCES, *second], debye_waller=sets)
    sets = {"high": [0.0055, 0.011], "low": [0.0, 0.00549]}
    strange = source("Rh", FCC, 225, 225, b=0.02)
    planned = plan([*SOURCES, *second, extra, strange], debye_waller=sets, test={"patterns": 5})
    low = {p.source.phase: p for p in planned.phases if p.set == "low"}
    high = {p.source.phase: p for p in planned.phases if p.set == "high"}
    assert [p.set for p in planned.phases] == sorted((p.set for p in planned.phases), reverse=True)
    assert all(low[phase].fold == p.fold for phase, p in high.items())
    assert not any(p.fold == TEST for p in high.values())  # for training only
    assert planned.left_out["mp-Pd (high)"] == "has no pattern in the set low"
    assert any("belong to no set" in reason for reason in planned.left_out.values())
    for members in (low, high):
        for label in (225, 229):
            trained = (p for p in members.values() if p.fold != TEST and p.label == label)
            assert sum(p.n_patterns for p in trained) == 60
    blind = [dataclasses.replace(s, debye_waller=None) for s in SOURCES]
    with pytest.raises(DatasetError, match="Debye-Waller factors are not known"):
        plan(blind, debye_waller=sets)
