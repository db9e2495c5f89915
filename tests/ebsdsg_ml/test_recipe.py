"""Recipes say one thing one way; class totals agree."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebsdsg_ml.recipe import DatasetRecipe, RecipeError, patterns_per_phase


def test_defaults_are_the_papers() -> None:
    assert DatasetRecipe().class_numbers == (221, 223, 225, 227, 229, 230)
    assert DatasetRecipe(label="relabelled").class_numbers == (221, 223, 225, 227, 229)
    assert (DatasetRecipe().n_folds, DatasetRecipe().size) == (5, 229)


def test_round_trip_and_one_spelling() -> None:
    recipe = DatasetRecipe(classes=(229, 225), exclude=("b", "a", "b"), seed=3)
    assert DatasetRecipe.from_dict(recipe.to_dict()) == recipe
    same = DatasetRecipe.from_dict({"classes": [225, 229], "exclude": ["a", "b"], "seed": 3})
    assert same.to_dict() == recipe.to_dict()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"folds": 5}, "unknown recipe entry folds; known: .*n_folds"),
        ({"label": "new"}, "label = 'new'"),
        ({"classes": [225, 225]}, "two different"),
        ({"classes": [225, 300]}, "300 is not a space-group"),
        ({"size": 4}, "size = 4"),
        ({"patterns_per_class": 0}, "patterns_per_class"),
        ({"seed": -1}, "seed = -1"),
        ({"energy_weights": "all"}, "energy_weights"),
        ({"solid_angle": "flat"}, "solid_angle"),
        ({"background": "no"}, "background"),
        ({"detector": {"shape": [3, 3]}}, "without 'shape'"),
        ({"exclude": "Ni"}, "list of phase ids"),
    ],
)
def test_bad_recipes_are_refused(values: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        DatasetRecipe.from_dict(values)


@given(
    st.dictionaries(st.text(min_size=1, max_size=6), st.integers(221, 230), min_size=1),
    st.integers(40, 10_000),
    st.integers(0, 9),
)
def test_class_totals_are_exact_and_shares_even(labels, total, seed) -> None:
    counts = patterns_per_phase(labels, total, seed)
    totals = Counter()
    for phase, n in counts.items():
        totals[labels[phase]] += n
    assert set(totals.values()) == {total}
    for group in totals:
        shares = [counts[p] for p in labels if labels[p] == group]
        assert max(shares) - min(shares) <= 1


def test_more_phases_than_patterns_is_an_error() -> None:
    with pytest.raises(RecipeError, match="space group 225 has 3 phases but only 2"):
        patterns_per_phase({"a": 225, "b": 225, "c": 225}, 2)
