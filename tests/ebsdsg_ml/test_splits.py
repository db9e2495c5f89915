"""A split never shares a phase, and a leaking one is named."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebsdsg_ml.splits import FoldMember, LeakError, SplitError, leak_report, phase_folds


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


def test_leak_report_names_phase_and_file_and_only_reports_composition() -> None:
    members = [
        FoldMember("a", 0, "f1", "TiC", "NaCl"),
        FoldMember("b", 1, "f2", "TiC", "NaCl"),
        FoldMember("c", 1, "f3", "NbC", "NaCl"),
    ]
    report = leak_report(members)
    assert report.empty
    assert report.composition is not None and report.prototype is not None
    assert report.composition[0].phases == ("a", "b")
    assert report.prototype[0].phases == ("a", "b", "c")
    report.raise_if_leaking()

    with pytest.raises(LeakError, match=r"phase a \(a\) in folds 0, 1"):
        leak_report([*members, FoldMember("a", 1, "f9")]).raise_if_leaking()
    copied = leak_report([*members, FoldMember("d", 0, "f3")])
    assert not copied.empty and copied.to_dict()["file"][0]["phases"] == ["c", "d"]
    with pytest.raises(LeakError, match=r"file f3 \(c, d\)"):
        copied.raise_if_leaking()


def test_unknown_properties_are_reported_as_unknown() -> None:
    report = leak_report([FoldMember("a", 0), FoldMember("b", 1)])
    assert report.prototype is None and report.composition is None
    assert report.to_dict()["prototype"] is None
