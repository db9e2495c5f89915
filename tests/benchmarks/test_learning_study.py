"""The pure parts of the learning study: which phases, and what becomes of the answers."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from study import bank, choosing, comparison, starts
from study import relabelling_tables as tables


def entry(name, group, formula="KF", volume=100.0, sites=4, snapshot=True):
    return {
        "material_id": name,
        "formula_pretty": formula,
        "spacegroup_number": group,
        "volume_conventional": volume,
        "nsites": sites,
        "in_2024_07_snapshot": snapshot,
    }


def test_the_phases_are_chosen_by_hash_and_limits_alone():
    rows = [entry(f"mp-{i}", 225) for i in range(40)]
    rows += [entry("large", 225, volume=251.0), entry("many", 225, sites=15)]
    rows += [entry("later", 225, snapshot=False), entry("other", 226)]
    found = [row["material_id"] for row in bank.chosen(rows, {225: (0, 41)})]
    assert sorted(found) == sorted(f"mp-{i}" for i in range(40))
    assert found == sorted(found, key=bank.order)
    few = [row["material_id"] for row in bank.chosen(rows[::-1], {225: (3, 9)})]
    assert few == found[3:9]


def test_compositions_of_the_experiment_are_left_out_without_others_moving_up():
    rows = [entry(f"mp-{i}", 221) for i in range(20)]
    before = [row["material_id"] for row in bank.chosen(rows, {221: (0, 5)})]
    rows = [
        {**row, "formula_pretty": "AlNi3"} if row["material_id"] == before[2] else row
        for row in rows
    ]
    after = [row["material_id"] for row in bank.chosen(rows, {221: (0, 5)})]
    assert after == before[:2] + before[3:]


TRUTH = {"a": 221, "b": 221, "c": 223, "d": 225, "e": 227, "f": 229}
ANSWERS = {
    "a": [10, 0, 0, 0, 0],
    "b": [0, 0, 10, 0, 0],  # Pm-3m taken for Fm-3m, its supergroup
    "c": [0, 10, 0, 0, 0],
    "d": [0, 0, 10, 0, 0],
    "e": [0, 0, 0, 10, 0],
    "f": [0, 0, 0, 5, 5],  # Im-3m taken for Fd-3m: no step joins them
}


def test_classes_count_alike_whatever_their_number_of_phases():
    matrix = tables.confusion(ANSWERS, TRUTH)
    assert matrix.sum() == 60 and matrix[0].tolist() == [10, 0, 10, 0, 0]
    assert tables.balanced(matrix) == pytest.approx((0.5 + 1 + 1 + 1 + 0.5) / 5)


def test_the_subgroup_graph_joins_three_of_ten_pairs_and_shares_follow():
    assert tables.joined_groups() == {
        frozenset(pair) for pair in ((221, 225), (221, 229), (223, 229))
    }
    share = tables.allowed_share(tables.confusion(ANSWERS, TRUTH))
    assert share["confusions"] == 15
    assert share["joined"] == pytest.approx(10 / 15)
    # of four wrong answers to Pm-3m two are joined to it, and two to Im-3m
    assert share["joined_by_chance"] == pytest.approx(0.5)
    assert share["supergroup"] == pytest.approx(10 / 15)


def test_the_interval_over_phases_is_wide_where_phases_differ_and_none_where_they_do_not():
    low, high = tables.phase_limits(ANSWERS, TRUTH)
    assert low == pytest.approx(0.7) and high == pytest.approx(0.9)
    same = {**ANSWERS, "b": [10, 0, 0, 0, 0]}
    assert tables.phase_limits(same, TRUTH) == pytest.approx((0.9, 0.9))


def test_the_difference_is_that_of_the_balanced_accuracies_and_its_interval_holds_it():
    labels = {"true": TRUTH, "relabelled": {**TRUTH, "b": 225}}
    answers = {"true": ANSWERS, "relabelled": ANSWERS}
    found = tables.difference(answers, labels, draws=50)
    by_label = [tables.balanced(tables.confusion(ANSWERS, labels[k])) for k in tables.LABELS]
    gain = found["balanced"]
    assert gain["mean"] == pytest.approx(by_label[1] - by_label[0]) == pytest.approx(0.1)
    assert gain["low"] <= gain["mean"] <= gain["high"]
    assert found["per_phase"]["mean"] == pytest.approx(1 / 6)


def test_phases_that_one_label_lacks_and_classes_without_a_phase_are_left_out():
    labels = {"true": TRUTH, "relabelled": TRUTH}
    fewer = {phase: counts for phase, counts in ANSWERS.items() if phase != "c"}
    found = tables.difference({"true": ANSWERS, "relabelled": fewer}, labels, draws=5)
    assert found["n_phases"] == 5 and "balanced" not in found
    assert found["per_phase"]["mean"] == 0


def cell(method, seed, value, severity="mild", start="imperfect"):
    return {
        "start": start,
        "severity": severity,
        "method": method,
        "seed": seed,
        "per_phase": value,
        "per_class": value,
        "phases": [value],
        "cpu_seconds": 1.0,
    }


def test_rows_of_the_comparison_are_means_over_seeds_of_one_start():
    truth = np.array([0, 1, 2, 3, 4])
    right = np.eye(5)[truth]
    wrong = np.tile(np.eye(5)[0], (5, 1))
    cells, answers = [], {}
    for name, first in (("self-training", right), ("MCD joint", wrong)):
        for seed in (0, 1, 2):
            given = right if seed else first
            cells.append(cell(name, seed, float((given.argmax(axis=1) == truth).mean())))
            answers[comparison.cell_name(cells[-1])] = given
    cells.append(cell("MCD joint", 0, 0.2, start="clean"))
    answers[comparison.cell_name(cells[-1])] = wrong
    rows = comparison.summary(cells, answers, {"mild": truth})
    assert [(r["start"], r["method"]) for r in rows] == [
        ("imperfect", "self-training"),
        ("imperfect", "MCD joint"),
        ("clean", "MCD joint"),
    ]
    by_name = {row["method"]: row for row in rows if row["start"] == "imperfect"}
    assert by_name["self-training"]["interval"]["mean"] == 1
    assert by_name["MCD joint"]["values"] == [0.2, 1.0, 1.0]
    assert by_name["MCD joint"]["collapsed"] == 1 and by_name["MCD joint"]["majority"] == 1
    margin = comparison.paired(rows, "mild", "self-training", "MCD joint")
    assert margin["mean"] == pytest.approx(0.8 / 3) and margin["n"] == 3
    assert comparison.paired(rows, "severe", "self-training", "MCD joint") is None


def test_the_method_is_chosen_by_the_development_target_alone():
    cells = [
        cell("AdaBN", 0, 0.5, comparison.DEVELOPMENT),
        cell("AdaBN", 1, 0.7, comparison.DEVELOPMENT),
        cell("MCC", 0, 0.65, comparison.DEVELOPMENT),
        cell("MCC", 1, 0.5, comparison.DEVELOPMENT),
        cell("MCC", 0, 1.0, "middle"),
    ]
    assert comparison.chosen(cells) == "AdaBN"
    rows = comparison.unseen(cells, comparison.DEVELOPMENT)
    assert [row["interval"]["mean"] for row in rows] == pytest.approx([0.6, 0.575])
    assert comparison.unseen(cells, comparison.CONFIRMATION) == []
    assert comparison.chosen(cells[4:]) is None


def test_names_of_cells_are_files_and_all_different():
    names = {
        comparison.cell_name(cell(method, 0, 0.0, "middle", start))
        for method, what in comparison.METHODS.items()
        for start in what.starts
    }
    assert len(names) == sum(len(what.starts) for what in comparison.METHODS.values())
    assert all(name.replace("-", "").replace("_", "").isalnum() for name in names)


def test_the_mild_target_lies_within_the_source_and_the_severe_one_does_not():
    from ebsdsg_ml.synthetic_target import SEVERITIES

    wide = starts.WIDE
    mild, severe = SEVERITIES["mild"], SEVERITIES["severe"]
    assert wide.electrons[0] <= mild.electrons[0] and mild.electrons[1] <= wide.electrons[1]
    assert max(map(abs, mild.pattern_centre)) <= wide.jitter
    assert severe.electrons[0] < wide.electrons[0] and severe.dark > wide.dark
    assert max(map(abs, severe.pattern_centre)) > 2 * wide.jitter


def test_choosing_by_certainty_costs_what_the_sure_and_wrong_run_loses():
    truth = np.array([0, 1, 2, 3, 4])
    sure_and_wrong = np.tile(np.eye(5)[0], (5, 1))
    right = 0.6 * np.eye(5)[truth] + 0.08
    cells = [cell("MCC", 0, 1.0), cell("MCD joint", 0, 0.2)]
    answers = {
        comparison.cell_name(c): given
        for c, given in zip(cells, (right, sure_and_wrong), strict=True)
    }
    found = choosing.summary(cells, answers)
    rows = {row["criterion"]: row for row in found["rows"]}
    assert (found["n"], found["oracle"], found["random"]) == (1, 1.0, pytest.approx(0.6))
    assert rows["entropy"]["regret"] == pytest.approx(0.8)
    assert rows["mutual_information"]["regret"] == 0
    assert any("nuclear" in line or "bnm" in line for line in choosing.part(found))
