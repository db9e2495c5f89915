"""Figures say what their tables say, with names and units on their axes."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import numpy as np
import pytest
from plotly.graph_objects import Figure

from ebsdsg_ml.analysis.flow import confusion_flow
from ebsdsg_ml.analysis.runs import run_table
from ebsdsg_ml.figures import (
    FigureError,
    candidate_figure,
    confusion_figure,
    contact_sheet,
    debye_waller_figure,
    element_figure,
    method_figure,
    phase_accuracy_figure,
    quality_figure,
    reliability_figure,
    run_table_figure,
    set_size_figure,
    subgroup_figure,
    template,
    themed,
    training_figure,
    workflow_figure,
)
from ebsdsg_ml.metrics import phase_accuracies


def test_confusion_shares_are_by_row() -> None:
    figure = json.loads(confusion_figure([[3, 1], [0, 0]], (221, 225)).to_json())
    assert figure["data"][0]["z"] == [[75, 25], [0, 0]]
    assert figure["data"][0]["text"][0] == ["75 %<br>3", "25 %<br>1"]
    assert figure["layout"]["yaxis"]["title"]["text"] == "space group of the phase"
    assert figure["layout"]["yaxis"]["autorange"] == "reversed"
    assert "[%]" in figure["data"][0]["colorbar"]["title"]["text"]
    with pytest.raises(FigureError, match="for 3 classes"):
        confusion_figure([[3, 1], [0, 0]], (221, 225, 227))


def row(epoch: int, validation: float | None) -> dict[str, float | int | None]:
    return {
        "epoch": epoch,
        "train_loss": 1 / epoch,
        "train_accuracy": 0.5,
        "validation_loss": validation,
        "validation_accuracy": validation,
    }


def test_training_curves() -> None:
    figure = training_figure({"fold 0": [row(1, 0.4), row(2, 0.9)], "final": [row(1, None)]})
    names = [trace.name for trace in figure.data]
    assert names.count("fold 0") == 4 and names.count("final") == 2
    accuracy = [t for t in figure.data if t.name == "fold 0"][2]
    assert list(accuracy.y) == [40, 90]
    assert figure.layout.yaxis.title.text == "cross entropy [nat]"
    assert figure.layout.yaxis2.title.text == "accuracy [%]"


def test_phase_bars_show_interval_and_confusion() -> None:
    rows = phase_accuracies([0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 1, 1], ["a", "b"], (221, 225))
    figure = phase_accuracy_figure([{**r, "formula": "NiAl"} for r in rows])
    assert [list(t.x) for t in figure.data] == [[0.0], [100.0]]
    (mostly,) = figure.layout.annotations
    assert (mostly.y, mostly.text) == ("NiAl (a)", "mostly 225")
    assert figure.data[1].error_x.arrayminus[0] > 0
    assert list(figure.data[0].y) == ["NiAl (a)"]


def test_contact_sheet_holds_every_pattern() -> None:
    patterns = np.stack([np.full((20, 20), 40 * i, np.uint8) for i in range(5)])
    sheet = contact_sheet(patterns, ["a" * 60] * 5, columns=3, pixels=40)
    pixels = np.asarray(sheet)
    for i in range(5):
        assert (pixels[6 + (i // 3) * 62 + 20, 6 + (i % 3) * 46 + 20]) == 40 * i
    with pytest.raises(FigureError, match="1 labels for 5"):
        contact_sheet(patterns, ["a"])
    with pytest.raises(FigureError, match="expected"):
        contact_sheet(patterns.astype(float), ["a"] * 5)


def test_reliability_shows_certainty_against_accuracy() -> None:
    rows = [
        {"low": 0.4, "high": 0.5, "n": 25, "confidence": 0.45, "accuracy": 0.3},
        {"low": 0.9, "high": 1.0, "n": 75, "confidence": 0.97, "accuracy": 0.8},
    ]
    figure = reliability_figure({"before": rows, "after": rows[:1]})
    diagonal, before, after = figure.data
    assert list(diagonal.x) == list(diagonal.y) == [0, 100]
    assert (before.name, list(before.x), list(before.y)) == ("before", [45, 97], [30, 80])
    assert before.marker.size[1] > before.marker.size[0] and len(after.x) == 1
    with pytest.raises(FigureError, match="at least one bin"):
        reliability_figure({"before": []})


PAPER = {
    "classes": [221, 223, 225, 227, 229, 230],
    "counts": [
        [8069, 0, 635, 5, 474, 0],
        [81, 8345, 82, 1, 98, 6],
        [481, 0, 9026, 45, 447, 4],
        [23, 1, 149, 8395, 53, 0],
        [678, 33, 938, 218, 6718, 15],
        [0, 126, 0, 1, 1, 8482],
    ],
}
"""Fig. 2a of the paper."""
PHASES = [
    {
        "formula": formula, "difference": difference, "mean": mean, "label": 225,
        "accuracy": 1 - error, "error": error, "most_frequent": 221,
    }
    for formula, difference, mean, error in (("MgO", 4, 10.0, 0.9), ("TaC", 67, 39.5, 0.1))
]  # fmt: skip
QUALITY = [
    {
        "low": 0.2, "high": 0.4, "right": 5, "total": 10, "accuracy": 0.5,
        "accuracy_low": 0.2, "accuracy_high": 0.8,
    }
]  # fmt: skip
SIZES = [{"size": 1, "n": 30, "covered": 20}, {"size": 2, "n": 70, "covered": 70}]
METHODS = [
    {
        "method": method, "severity": severity, "values": [mean - 0.1, mean + 0.1],
        "interval": {"mean": mean, "half_width": 0.2},
    }
    for method, severity, mean in (
        ("MCD", "mild", 0.7), ("AdaBN", "mild", 0.6), ("MCD", "severe", 0.3)
    )
]  # fmt: skip
STAGES = [
    {"stage": "structure", "unit": "structures", "states": {"completed": 4}},
    {"stage": "simulate", "unit": "simulations", "states": {"completed": 3, "timed_out": 1}},
    {"stage": "train", "unit": "training runs", "states": {}},
]
RUNS = run_table(
    [
        {
            "key": key,
            "per_phase": [
                {"material_id": "a", "formula": "NiAl", "n": 1, "accuracy": x},
                {"material_id": "b", "formula": "Si", "n": 1, "accuracy": 1.0},
            ],
        }
        for key, x in (("seed 1", 0.0), ("c2b5a6de-6f0a-42c8", 0.5))
    ]
)
RELIABILITY = [{"low": 0.4, "high": 0.5, "n": 25, "confidence": 0.45, "accuracy": 0.3}]
RNG = np.random.default_rng(1)
PATTERN = RNG.normal(size=(12, 12))


@cache
def every_figure() -> dict[str, Figure]:
    phases = phase_accuracies([0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 1, 1], ["a", "b"], (221, 225))
    return {
        "confusion": confusion_figure(PAPER["counts"], PAPER["classes"]),
        "training": training_figure({"a": [row(1, 0.4), row(2, 0.9)], "b": [row(1, None)]}),
        "phases": phase_accuracy_figure(phases),
        "quality": quality_figure({"answers": QUALITY}),
        "runs": run_table_figure(RUNS),
        "elements": element_figure(PHASES),
        "reliability": reliability_figure({"before": RELIABILITY}),
        "sizes": set_size_figure({"sets": SIZES}),
        "methods": method_figure(METHODS, chance=0.2),
        "candidates": candidate_figure(PATTERN, {"A": PATTERN + 1, "B": -PATTERN}),
        "debye_waller": debye_waller_figure([PATTERN + 9, PATTERN / 2 + 9], [0.005, 0.011]),
        "workflow": workflow_figure(STAGES),
        "subgroups": subgroup_figure(confusion_flow(PAPER)),
    }


NAMES = (
    "confusion", "training", "phases", "quality", "runs", "elements", "reliability", "sizes",
    "methods", "candidates", "debye_waller", "workflow", "subgroups",
)  # fmt: skip
WITHOUT_UNIT = {
    "predicted space group", "space group of the phase", "phase", "phase, by space group", "run",
    "epoch", "severity", "stage",
}  # fmt: skip
"""Axes that name things, and do not measure."""


@pytest.mark.parametrize("name", NAMES)
def test_every_axis_has_a_title_and_what_is_measured_a_unit(name: str) -> None:
    layout = json.loads(str(every_figure()[name].to_json()))["layout"]
    axes = {key: axis for key, axis in layout.items() if re.fullmatch(r"[xy]axis\d*", key)}
    if name == "subgroups":
        assert all(axis["visible"] is False for axis in axes.values()), "a diagram has no axes"
        return
    titles = {axis["title"]["text"] for axis in axes.values() if "title" in axis}
    assert {key[0] for key, axis in axes.items() if "title" in axis} == {"x", "y"}
    for title in titles - WITHOUT_UNIT:
        assert re.search(r" \[[^]]+\]$", title), title
    shown = [axis for axis in axes.values() if axis.get("showticklabels", True)]
    assert all("title" in axis or "matches" in axis for axis in shown)


@pytest.mark.parametrize("name", NAMES)
def test_light_and_dark_differ_in_colours_only(name: str) -> None:
    light = every_figure()[name]
    before = json.loads(str(light.to_json()))
    dark = themed(light, dark=True)
    assert json.loads(str(light.to_json())) == before
    plain = [json.loads(str(figure.to_json())) for figure in (light, dark)]
    templates = [figure["layout"].pop("template") for figure in plain]
    assert plain[0] == plain[1]
    assert templates[0] != templates[1]
    texts = [re.sub(r"#[0-9a-f]{6}", "", json.dumps(t), flags=re.I) for t in templates]
    assert texts[0] == texts[1]


def luminance(colour: str) -> float:
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("dark", [False, True])
def test_text_and_series_stand_out_from_the_background(dark: bool) -> None:
    layout = template(dark)["layout"]
    back = luminance(layout["paper_bgcolor"])

    def contrast(colour: str) -> float:
        lighter, darker = sorted((luminance(colour), back), reverse=True)
        return (lighter + 0.05) / (darker + 0.05)

    assert contrast(layout["font"]["color"]) > 7  # WCAG 2.2, 1.4.6
    assert min(map(contrast, layout["colorway"])) > 2.2


def values(figure: Figure, trace: int, *names: str) -> list[Any]:
    plain = json.loads(str(figure.to_json()))["data"][trace]
    return [plain[name] for name in names]


def test_elements_quality_and_sizes_say_what_their_tables_say() -> None:
    assert values(element_figure(PHASES), 0, "x", "y") == [[4, 67], [10.0, 39.5]]
    marker = values(element_figure(PHASES), 0, "marker")[0]
    assert marker["color"] == [90, 10] and marker["symbol"] == ["x", "circle"]
    figure = quality_figure({"answers": QUALITY})
    assert values(figure, 0, "x", "y") == [[pytest.approx(0.3)], [50]]
    assert values(figure, 0, "error_y")[0]["arrayminus"] == [pytest.approx(30)]
    inside, outside = set_size_figure({"sets": SIZES}).data
    assert (list(inside.y), list(outside.y)) == ([20, 70], [10, 0])
    with pytest.raises(FigureError, match="no phase of this type"):
        element_figure([])
    with pytest.raises(FigureError, match="at least one class"):
        quality_figure({"answers": []})
    with pytest.raises(FigureError, match="at least one size"):
        set_size_figure({})


def test_runs_and_methods_say_what_their_tables_say() -> None:
    figure = run_table_figure(RUNS)
    z, x, y, text = values(figure, 0, "z", "x", "y", "text")
    assert y == ["all patterns", "mean of phases", "NiAl", "Si"]  # the worst phase first
    assert z[2] == [0, 50, 25] and x[:2] == ["seed 1", "run 2"]
    # Student, one degree of freedom: 12.706 x 35.36 / sqrt 2
    assert text[2] == ["0", "50", "25±318"] and text[3][2] == "100±0"
    seeds, mean, *_ = method_figure(METHODS).data
    assert list(mean.x) == [pytest.approx(70), pytest.approx(30)] and mean.name == "MCD"
    assert list(mean.error_x["array"]) == [20, 20]
    assert sorted(seeds.x) == pytest.approx([20, 40, 60, 80])
    with pytest.raises(FigureError, match="two rows of one"):
        method_figure([METHODS[0], METHODS[0]])


def test_candidates_are_scored() -> None:
    figure = candidate_figure(PATTERN, {"A": 3 * PATTERN + 1, "B": -PATTERN}, name="Al")
    texts = [a.text for a in figure.layout.annotations]
    assert "A<br>NCC 1.000" in texts and "B<br>NCC -1.000" in texts and texts[0] == "Al"
    assert len(figure.data) == 3 + 2 + 1  # images, differences, the scale
    with pytest.raises(FigureError, match="B: an image of shape"):
        candidate_figure(PATTERN, {"B": PATTERN[:5]})
    with pytest.raises(FigureError, match="blank"):
        candidate_figure(PATTERN, {"B": np.ones_like(PATTERN)})
    series = debye_waller_figure([PATTERN + 9, PATTERN / 2 + 9], [0.005, 0.011])
    first, second = (a.text for a in series.layout.annotations)
    ratio = (PATTERN + 9).std() / (PATTERN + 9).mean()
    assert first == f"B = 0.005 nm²<br>contrast {ratio:.3f}<br>NCC 1.000"
    assert second.startswith("B = 0.011 nm²<br>") and second.endswith("NCC 1.000")
    with pytest.raises(FigureError, match="1 Debye-Waller factors for 2 patterns"):
        debye_waller_figure([PATTERN, PATTERN], [0.005])


def test_the_workflow_counts() -> None:
    figure = workflow_figure(STAGES)
    completed, late = figure.data
    assert (completed.name, list(completed.x), list(completed.y)) == (
        "completed",
        [100, 75],
        [0, 1],
    )
    assert (late.name, list(late.x)) == ("timed out", [25])
    texts = [a.text for a in figure.layout.annotations if a.text]
    assert texts == [
        "structures: 4 completed",
        "simulations: 3 completed, 1 timed out",
        "training runs: none yet",
    ]
    with pytest.raises(FigureError, match="sleeping"):
        workflow_figure([{"stage": "x", "unit": "y", "states": {"sleeping": 1}}])


def test_wrong_answers_follow_the_graph_of_subgroups() -> None:
    figure = subgroup_figure(confusion_flow(PAPER))
    steps, groups, along, other = figure.data
    # four pairs of the six groups are joined (the paper's SI Fig. 2)
    assert list(steps.x).count(None) == 4
    assert "225<br>90 %" in groups.text[2]
    assert along.name == "wrong answers along a step, 55 % of 4595"
    assert other.name == "other wrong answers, 45 % of 4595"
    arrows = [a for a in figure.layout.annotations if a.showarrow]
    wrong = sum(
        n > 0 for i, line in enumerate(PAPER["counts"]) for j, n in enumerate(line) if i != j
    )
    assert len(arrows) == wrong
    widest = max(arrows, key=lambda a: a.arrowwidth)
    assert widest.x > widest.ax, "938 patterns of Im-3m, on the left, are taken for Fm-3m"
