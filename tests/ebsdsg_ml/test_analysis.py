"""Small documents whose tables can be checked by hand."""

from __future__ import annotations

from typing import Any

import pytest

from ebsdsg_ml.analysis.confusion import AnalysisError, confusion_table, joined_confusion
from ebsdsg_ml.analysis.flow import confusion_flow
from ebsdsg_ml.analysis.phases import light_element_statistics, phase_table, weak_phases
from ebsdsg_ml.analysis.prototypes import element_differences, prototype_share
from ebsdsg_ml.analysis.runs import accuracy_by_quality, run_table


def phase(key: str, formula: str, label: int, n: int, accuracy: float, most: int) -> dict[str, Any]:
    return {
        "material_id": key,
        "formula": formula,
        "label": label,
        "n": n,
        "accuracy": accuracy,
        "most_frequent": most,
    }


RUNS = [
    {
        "key": "fold 0",
        "per_phase": [
            phase("a", "LiF", 225, 10, 0.2, 221),
            phase("b", "NaCl", 225, 10, 0.9, 225),
            phase("c", "CaF2", 225, 20, 0.4, 229),
        ],
    },
    {
        "key": "fold 1",
        "per_phase": [phase("d", "CsCl", 221, 10, 1.0, 221), phase("e", "NiAl", 221, 10, 0.3, 229)],
    },
]
STRUCTURES = [
    {"material_id": "a", "prototype": "AB_cF8_225_4_4", "composition": {"Li": 4, "F": 4}},
    {"material_id": "b", "prototype": "AB_cF8_225_4_4", "composition": {"Na": 4, "Cl": 4}},
    {"material_id": "c", "prototype": "AB2_cF12_225_4_8", "composition": {"Ca": 4, "F": 8}},
    {"material_id": "d", "prototype": "AB_cP2_221_1_1", "composition": {"Cs": 1, "Cl": 1}},
    {"material_id": "e", "prototype": "AB_cP2_221_1_1", "composition": {"Ni": 1, "Al": 1}},
]


def test_confusion_by_counts_and_by_shares() -> None:
    first = {"classes": [221, 225], "counts": [[3, 1], [0, 0]]}
    both = joined_confusion([first, {"classes": [221, 225], "counts": [[5, 1], [0, 0]]}])
    assert confusion_table(both)[0] == {"true": 221, "total": 10, "221": 8, "225": 2}
    shares = confusion_table(both, normalised=True)
    assert shares[0] == {"true": 221, "total": 10, "221": 0.8, "225": 0.2}
    assert shares[1]["225"] is None
    with pytest.raises(AnalysisError, match="221, 229"):
        joined_confusion([first, {"classes": [221, 229], "counts": [[1, 0], [0, 1]]}])


def test_flow_of_wrong_answers_over_the_subgroups() -> None:
    rows = confusion_flow({"classes": [221, 225, 227], "counts": [[8, 3, 0], [1, 9, 0], [0, 1, 4]]})
    found = {(r["true"], r["predicted"]): (r["n"], r["share"], r["index"]) for r in rows}
    assert len(found) == 9
    # Fm-3m is a subgroup of Pm-3m of index 2; the way back has index 4
    assert found[221, 225] == (3, 0.6, 2) and found[225, 221] == (1, 0.2, 2)
    assert found[227, 225] == (1, 0.2, None)
    assert found[221, 221] == (8, 0.0, None)
    with pytest.raises(AnalysisError, match="not those of the classes"):
        confusion_flow({"classes": [221, 225], "counts": [[1]]})


def test_phases_worst_first_and_the_weak_ones_by_their_light_elements() -> None:
    rows = phase_table(RUNS)
    assert [row["formula"] for row in rows] == ["LiF", "NiAl", "CaF2", "NaCl", "CsCl"]
    assert rows[1]["most_frequent"] == 229
    weak = weak_phases(rows)
    assert [(row["formula"], row["light"]) for row in weak] == [
        ("LiF", ["Li", "F"]),
        ("NiAl", []),
        ("CaF2", ["F"]),
    ]
    light, heavy, lithium, fluorine = light_element_statistics(rows)
    assert (light["phases"], light["weak"], light["weak_share"]) == (2, 2, 1.0)
    assert (heavy["phases"], heavy["weak"]) == (3, 1)
    assert (lithium["element"], lithium["phases"]) == ("Li", 1)
    assert (fluorine["element"], fluorine["accuracy"]) == ("F", pytest.approx(0.3))
    twice = phase_table([RUNS[0], RUNS[0] | {"per_phase": [phase("a", "LiF", 225, 30, 1, 225)]}])
    (lif,) = [row for row in twice if row["formula"] == "LiF"]
    assert (lif["n"], lif["accuracy"], lif["most_frequent"]) == (40, pytest.approx(0.8), 225)
    with pytest.raises(AnalysisError, match="labels 225 and 221"):
        phase_table([RUNS[0], {"per_phase": [phase("a", "LiF", 221, 1, 1, 221)]}])
    with pytest.raises(AnalysisError, match="evaluate it first"):
        phase_table([{"key": "x"}])


def test_differences_of_atomic_number_by_prototype() -> None:
    rows = phase_table(RUNS)
    salts = element_differences(rows, STRUCTURES, "rock salt")
    assert [(r["formula"], r["difference"], r["mean"]) for r in salts] == [
        ("LiF", 6, 6.0),
        ("NaCl", 6, 14.0),
    ]
    assert [r["difference"] for r in element_differences(rows, STRUCTURES, "caesium chloride")] == [
        15,
        38,
    ]
    with pytest.raises(AnalysisError, match="no structure document of e"):
        element_differences(rows, STRUCTURES[:-1], "rock salt")
    share = prototype_share(rows, STRUCTURES)
    assert share["phases"] == 1 and share["share"] == 0.2 and share["accuracy"] == 0.4
    assert share["others"] == pytest.approx((2 + 9 + 10 + 3) / 40)
    assert share["share_of_weak"] == pytest.approx(1 / 3)


def test_runs_side_by_side() -> None:
    runs = [
        {
            "key": k,
            "per_phase": [phase("a", "NiAl", 229, 1, x, 229), phase("b", "Si", 227, 3, y, 1)],
        }
        for k, x, y in (("r1", 0.0, 0.8), ("r2", 1.0, 1.0))
    ]
    table = run_table(runs)
    assert [row["run"] for row in table] == ["r1", "r2", "mean", "half_width"]
    assert table[0]["accuracy"] == pytest.approx(0.6) and table[2]["NiAl"] == 0.5
    # Student, one degree of freedom: 12.706 s / sqrt 2
    assert table[3]["Si"] == pytest.approx(12.706 * 0.1, rel=1e-3)
    assert run_table(runs, without=["NiAl"])[0]["accuracy"] == pytest.approx(0.8)
    for spelling in ("AlNi", "Ni2Al2"):
        assert run_table(runs, without=[spelling]) == run_table(runs, without=["NiAl"])
    with pytest.raises(AnalysisError, match=r"left out: Ni3Al: no phase .* they are of NiAl, Si"):
        run_table(runs, without=["NiAl", "Ni3Al"])
    with pytest.raises(AnalysisError, match="other phases"):
        run_table([*runs, {"key": "r3", "per_phase": runs[0]["per_phase"][:1]}])
    with pytest.raises(AnalysisError, match="no phase is left"):
        run_table(runs, without=["NiAl", "Si"])


def test_a_phase_without_patterns_has_no_accuracy() -> None:
    runs = [
        {"per_phase": [phase("a", "LiF", 225, 0, 0.0, 221), phase("b", "NaCl", 225, 4, 1, 225)]}
    ]
    assert [row["material_id"] for row in phase_table(runs)] == ["b"]
    with pytest.raises(AnalysisError, match="no run has accuracies"):
        phase_table([{"per_phase": runs[0]["per_phase"][:1]}])


def test_accuracy_against_quality() -> None:
    answers = [
        {"image_quality": q / 10, "space_group": 225, "truth": 225 if q >= 5 else 229}
        for q in range(10)
    ]
    rows = accuracy_by_quality(answers, bins=2)
    assert [(r["total"], r["accuracy"]) for r in rows] == [(5, 0.0), (5, 1.0)]
    assert rows[0]["high"] < 0.5 <= rows[1]["low"] and rows[1]["accuracy_low"] < 0.6
    same = [{**answer, "image_quality": 0.3} for answer in answers]
    assert [r["total"] for r in accuracy_by_quality(same, bins=4)] == [10]
    with pytest.raises(AnalysisError, match="must be numbers"):
        accuracy_by_quality([{**answers[0], "image_quality": float("nan")}])
