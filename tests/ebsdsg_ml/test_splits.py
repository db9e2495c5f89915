"""A split never shares a phase, and a leaking one is named."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebsdsg_ml.leaks import FoldMember, LeakError, leak_report
from ebsdsg_ml.splits import TEST, SplitError, group_folds, phase_folds


@st.composite
def labelled_phases(draw: st.DrawFn) -> tuple[dict[str, int], int, int]:
    n_folds = draw(st.integers(2, 6))
    labels: dict[str, int] = {}
    for group in draw(st.lists(st.integers(1, 230), min_size=1, max_size=5, unique=True)):
        for i in range(draw(st.integers(n_folds, 15))):
            labels[f"mp-{group}-{i}"] = group
    return labels, n_folds, draw(st.integers(0, 1000))


@given(labelled_phases(), st.randoms())
def test_folds_are_disjoint_balanced_complete_and_independent_of_order(case, random) -> None:
    labels, n_folds, seed = case
    folds = phase_folds(labels, n_folds, seed)
    assert set(folds) == set(labels)
    for group in set(labels.values()):
        sizes = Counter(folds[p] for p in labels if labels[p] == group)
        assert set(sizes) == set(range(n_folds))
        assert max(sizes.values()) - min(sizes.values()) <= 1
    totals = Counter(folds.values())
    assert max(totals.values()) - min(totals.values()) <= 1
    order = list(labels)
    random.shuffle(order)
    assert phase_folds({p: labels[p] for p in order}, n_folds, seed) == folds
    assert leak_report(FoldMember(p, f) for p, f in folds.items()).empty


def test_seed_changes_the_deal_and_the_deal_is_fixed_for_ever() -> None:
    labels = {f"p{i}": 225 for i in range(10)}
    assert phase_folds(labels, 5, 0) != phase_folds(labels, 5, 1)
    # a data set's identity depends on it: this may not change with Python or NumPy
    assert phase_folds({"Ni": 225, "Al": 225, "Si": 227, "Ge": 227}, 2, 0) == {
        "Al": 1,
        "Ge": 1,
        "Ni": 0,
        "Si": 0,
    }


def test_too_few_phases_are_named() -> None:
    labels = {"Ni": 225, "Al": 225, "Cu": 225, "Cr3Si": 223, "Mo3Si": 223}
    with pytest.raises(SplitError, match=r"223: 2 \(Cr3Si, Mo3Si\)"):
        phase_folds(labels, 3)
    with pytest.raises(SplitError, match="n_folds = 1"):
        phase_folds(labels, 1)


def test_groups_stay_together_and_classes_are_as_even_as_they_allow() -> None:
    sizes = {"big": 40, "half": 20, **{f"s{i}": 5 for i in range(8)}}
    groups = {f"{g}-{i}": g for g, n in sizes.items() for i in range(n)}
    labels = dict.fromkeys(groups, 225) | {f"x{i}": 229 for i in range(7)}
    groups |= {f"x{i}": f"x{i}" for i in range(7)}
    folds = group_folds(labels, groups, 3, seed=4)
    for group in set(groups.values()):
        assert len({folds[p] for p in groups if groups[p] == group}) == 1
    # 100 phases: the group of 40 alone, the others share what is left
    of_225 = Counter(folds[p] for p in labels if labels[p] == 225)
    assert sorted(of_225.values()) == [30, 30, 40]
    assert max(Counter(folds[f"x{i}"] for i in range(7)).values()) == 3
    backwards = dict(reversed(labels.items()))
    assert group_folds(backwards, groups, 3, seed=4) == folds
    assert any(group_folds(labels, groups, 3, seed=s) != folds for s in range(5, 9))


def test_a_group_of_two_classes_counts_in_both() -> None:
    # polymorphs: every composition exists in both groups
    labels = {f"{e}-{g}": g for e in "ABCDEF" for g in (225, 229)}
    groups = {phase: phase[0] for phase in labels}
    folds = group_folds(labels, groups, 3)
    for group in (225, 229):
        assert Counter(folds[p] for p in labels if labels[p] == group) == {0: 2, 1: 2, 2: 2}


def test_classes_with_too_few_groups_are_named_with_them() -> None:
    labels = {"NaCl": 225, "MgO": 225, "CaF2": 225, "W": 229, "Ta": 229, "AlCu2Mn": 229, "K": 229}
    prototypes = dict(labels) | {"W": "bcc", "Ta": "bcc", "K": "bcc", "AlCu2Mn": "Heusler"}
    groups = {p: str(prototypes[p]) for p in labels} | {"NaCl": "rock salt", "MgO": "rock salt"}
    with pytest.raises(SplitError) as error:
        group_folds(labels, groups | {"CaF2": "fluorite"}, 3)
    assert "225: 2 (fluorite with 1 phase, rock salt with 2 phases)" in str(error.value)
    assert "229: 2 (Heusler with 1 phase, bcc with 3 phases)" in str(error.value)


MEMBERS = [
    FoldMember("a", 0, "f1", "TiC", "NaCl"),
    FoldMember("b", 1, "f2", "NbC", "NaCl"),
    FoldMember("c", 1, "f3", "TiC", "CsCl"),
]


def test_a_leak_is_what_the_split_promises_to_separate() -> None:
    report = leak_report(MEMBERS)
    assert report.empty and report.promised == ("phase", "compound", "file")
    report.raise_if_leaking()
    found = {(o.kind, o.key): o.phases for o in report.overlaps}
    assert found == {("composition", "TiC"): ("a", "c"), ("prototype", "NaCl"): ("a", "b")}
    with pytest.raises(LeakError, match=r"prototype NaCl \(a, b\) in folds 0, 1"):
        leak_report(MEMBERS, "prototype").raise_if_leaking()
    with pytest.raises(LeakError, match=r"composition TiC \(a, c\)"):
        leak_report(MEMBERS, "composition").raise_if_leaking()


def test_phases_files_and_compounds_are_never_shared() -> None:
    with pytest.raises(LeakError, match=r"phase a \(a\) in folds 0, 1"):
        leak_report([*MEMBERS, FoldMember("a", 1, "f9")]).raise_if_leaking()
    copied = leak_report([*MEMBERS, FoldMember("d", 0, "f3")])
    assert not copied.empty and copied.to_dict()["leaks"][0]["phases"] == ["c", "d"]
    with pytest.raises(LeakError, match=r"file f3 \(c, d\) in folds 0, 1"):
        copied.raise_if_leaking()
    again = leak_report([*MEMBERS, FoldMember("e", 1, "f5", "TiC", "NaCl")])
    with pytest.raises(LeakError, match=r"compound TiC NaCl \(a, e\)"):
        again.raise_if_leaking()


def test_a_compound_spelled_in_two_ways_is_a_leak() -> None:
    spelled = [FoldMember("f", 0, "f6", "NiAl", "CsCl"), FoldMember("g", 1, "f7", "Al2Ni2", "CsCl")]
    with pytest.raises(LeakError, match=r"compound Al2Ni2 CsCl \(f, g\) in folds 0, 1"):
        leak_report([*MEMBERS, *spelled]).raise_if_leaking()
    assert leak_report([*MEMBERS, *spelled]).checked["composition"] == 3
    unlike = [*MEMBERS, spelled[0], FoldMember("g", 1, "f7", "AlNi3", "CsCl")]
    assert leak_report(unlike).empty


def test_the_test_set_shares_no_phase_but_may_share_a_prototype() -> None:
    with_test = [*MEMBERS, FoldMember("t", TEST, "f9", "TaC", "NaCl")]
    report = leak_report([m for m in with_test if m.phase != "b"], "prototype")
    assert report.empty and [str(o) for o in report.overlaps] == [
        "composition TiC (a, c) in folds 0, 1",
        "prototype NaCl (a, t) in folds test set, 0",
    ]
    with pytest.raises(LeakError, match="phase a"):
        leak_report([*MEMBERS, FoldMember("a", TEST)]).raise_if_leaking()


def test_unknown_properties_are_reported_as_not_checked() -> None:
    report = leak_report([FoldMember("a", 0), FoldMember("b", 1)])
    assert report.checked == {
        "phase": 2, "compound": 0, "file": 0, "composition": 0, "prototype": 0
    }  # fmt: skip
