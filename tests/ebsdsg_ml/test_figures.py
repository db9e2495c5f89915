"""Figures say what their tables say, with names and units on their axes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ebsdsg_ml.figures import (
    FigureError,
    confusion_figure,
    contact_sheet,
    phase_accuracy_figure,
    reliability_figure,
    training_figure,
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
