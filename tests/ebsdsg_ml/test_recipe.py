"""Recipes say one thing one way; class totals agree."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebsdsg_ml.composition import CompositionError, composition, proportions
from ebsdsg_ml.exclusion import ExclusionError
from ebsdsg_ml.experiment import EXPERIMENT
from ebsdsg_ml.recipe import DatasetRecipe, RecipeError
from ebsdsg_ml.shares import patterns_per_phase, patterns_per_phase_and_fold


def test_defaults_are_the_papers() -> None:
    assert DatasetRecipe().class_numbers == (221, 223, 225, 227, 229, 230)
    assert DatasetRecipe(label="relabelled").class_numbers == (221, 223, 225, 227, 229)
    assert (DatasetRecipe().n_folds, DatasetRecipe().size) == (5, 229)


def test_one_content_however_it_is_said_and_whatever_else_can_be_said() -> None:
    plain = DatasetRecipe()
    assert plain.content() == {"label": "true", "classes": [221, 223, 225, 227, 229, 230]}
    same = {"classes": [230, 221, 223, 225, 227, 229], "size": 229, "split": "phase", "test": {}}
    assert DatasetRecipe.from_dict(same).content() == plain.content()
    # what selects phases shows in the phases, not here; everything else does
    assert DatasetRecipe(exclude=("Ni",)).content() == plain.content()
    changes = {
        "label": "relabelled", "classes": (221, 225), "patterns_per_class": 10, "size": 32,
        "detector": {"pixel_size": 50.0, "distance": 19000.0}, "energy_weights": "exact",
        "background": False, "solid_angle": "emsoft", "split": "prototype", "n_folds": 3, "seed": 1,
        "orientations": "grid", "imperfections": {"blur": True}, "generation": "fresh",
    }  # fmt: skip
    selecting = {"exclude", "test", "debye_waller"}
    assert set(changes) | selecting == set(DatasetRecipe.__dataclass_fields__)
    contents = [DatasetRecipe(**{name: value}).content() for name, value in changes.items()]
    assert all(content != plain.content() for content in contents)


def test_debye_waller_sets_are_ordered_by_their_factors() -> None:
    recipe = DatasetRecipe(debye_waller={"high": [0.005, 0.011], "low": [0.0, 0.0045]})
    assert recipe.sets == ("low", "high")
    again = DatasetRecipe.from_dict(json.loads(json.dumps(recipe.to_dict(), sort_keys=True)))
    assert again.sets == ("low", "high") and again == recipe
    assert DatasetRecipe().sets == ("",)


def test_exclusion_rules_say_why() -> None:
    rules = DatasetRecipe(
        exclude={"prototypes": ["fluorite"], "elements_lighter_than": 10, "elements": ["U"]}
    ).exclude
    assert rules.reason("x", "CaF2", "AB2_cF12_225_4_8") == (
        "prototype AB2_cF12_225_4_8 is excluded by the recipe"
    )
    assert rules.reason("x", "TiC", "AB_cF8_225_4_4") == "C (Z = 6) is lighter than Z = 10"
    assert rules.reason("x", "NaCl", "AB_cF8_225_4_4") is None
    assert rules.reason("x", "Ni3U", "AB3_cP4_221_1_3") == "element U is excluded by the recipe"
    with pytest.raises(ExclusionError, match=r"x \(NaCl\): its prototype is not known"):
        rules.reason("x", "NaCl", None)


def test_compositions_of_formulas() -> None:
    assert composition("Ni3Al") == composition("AlNi3") != composition("AlNi2")
    assert dict(composition("Li(CuN)3")) == {"Li": 1, "Cu": 3, "N": 3}
    assert dict(composition("Mg(Si(OH)2)3")) == {"Mg": 1, "Si": 3, "O": 6, "H": 6}
    assert proportions("Al2Ni2") == proportions("NiAl") == (("Al", 0.5), ("Ni", 0.5))
    assert EXPERIMENT[0].is_compound("Ni6Fe2", 221)
    assert not EXPERIMENT[0].is_compound("Ni6Fe2", 225)
    for bad in ("", "ni", "Ni)", "(Ni", "Ni-Al"):
        with pytest.raises(CompositionError):
            composition(bad)


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
        ({"label": ["true"]}, r"label = \['true'\]"),
        ({"classes": 225}, "classes = 225: must be a list of space-group numbers"),
        ({"classes": "225"}, "classes = '225': must be a list"),
        ({"detector": {"shape": [3, 3]}}, "without 'shape'"),
        ({"detector": 3}, "detector: must be a mapping"),
        ({"detector": {"distnce": 3}}, "detector: unknown entry 'distnce'; known: .*distance"),
        ({"detector": {"distance": "abc"}}, "detector: distance = 'abc': must be a number"),
        ({"detector": {"distance": 19000}}, "detector: pixel_size is missing"),
        ({"detector": {"distance": -1, "pixel_size": 50}}, "detector: distance = -1"),
        ({"exclude": {"elements": 3}}, "elements = 3 must be a list"),
        ({3: 4}, "unknown recipe entry 3"),
        ({"exclude": "Ni"}, "list of phase ids"),
        ({"exclude": {"prototype": ["fluorite"]}}, "unknown rule prototype; known: phases, proto"),
        ({"exclude": {"prototypes": ["flourite"]}}, "'flourite' is neither a label .* fluorite"),
        ({"exclude": {"elements": ["Xx"]}}, "unknown element 'Xx'"),
        ({"exclude": {"elements_lighter_than": "C"}}, "elements_lighter_than = 'C'"),
        ({"split": "element"}, "split = 'element'"),
        ({"orientations": "euler"}, "orientations = 'euler'"),
        ({"generation": "fresh", "orientations": "grid"}, "grid"),
        ({"test": {"phases": "all"}}, "'experiment' or a list of ids"),
        ({"test": ["Ni"]}, "must be a mapping with the keys phases and patterns"),
        ({"test": {"patterns": 0}}, "test: patterns = 0"),
        ({"debye_waller": {"low": 0.004}}, r"low = 0.004: must be \[lowest, highest\]"),
        ({"debye_waller": {"low": [0.005, 0.004]}}, "must be rising"),
        ({"debye_waller": {"a": [0, 0.005], "b": [0.005, 0.01]}}, "the sets a and b overlap"),
        ({"imperfections": "noise"}, "imperfections"),
        ({"imperfections": {"noise": True}}, "'noise' is unknown; known: .*counts"),
        ({"imperfections": {"energy_shift": 0.5}, "energy_weights": "none"}, "energy_shift = 0.5"),
        (
            {"imperfections": {"energy_shift": [0, 1]}, "energy_weights": "none"},
            r"energy_shift = \[0, 1\]: has no effect",
        ),
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


def test_class_totals_agree_in_every_fold() -> None:
    labels = {f"a{i}": 225 for i in range(13)} | {f"b{i}": 229 for i in range(4)}
    folds = {p: 0 if p < "a7" else 1 for p in labels if p[0] == "a"}
    folds |= {f"b{i}": i % 2 for i in range(4)}
    counts = patterns_per_phase_and_fold(labels, folds, 2, 101, seed=3)
    totals = Counter()
    for phase, n in counts.items():
        totals[labels[phase], folds[phase]] += n
    assert sorted(totals.values()) == [50, 50, 51, 51] and min(counts.values()) >= 5
    assert sum(n for p, n in counts.items() if labels[p] == 225) == 101
    with pytest.raises(RecipeError, match="fold 0 of 2: space group 225 has"):
        patterns_per_phase_and_fold(labels, folds, 2, 10)
