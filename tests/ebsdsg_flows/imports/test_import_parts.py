"""Cells of any size, waiting with an end, and the settings of a connection."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from fake_materials_project import BCC, FCC, SIMPLE, summary
from hypothesis import given, settings
from hypothesis import strategies as st

from ebsdsg_flows.atoms import atoms_of
from ebsdsg_flows.imports.cell_limits import (
    conventional_volume,
    largest_volume_to_list,
    lattice_points,
    smallest_conventional_volume,
    translations,
)
from ebsdsg_flows.imports.patience import DeadlineError, pause, retry_after, within

NACL = [("Na", [0.0, 0.0, 0.0]), ("Cl", [0.5, 0.5, 0.5])]


@pytest.mark.parametrize(
    ("group", "points"), [(1, 1), (5, 2), (166, 3), (221, 1), (225, 4), (227, 4), (229, 2)]
)
def test_lattice_points(group: int, points: int) -> None:
    assert lattice_points(group) == points


class TestTranslations:
    def test_a_primitive_cell_has_one(self) -> None:
        assert translations(atoms_of(summary("x", 5.6, FCC, NACL, 225)["structure"], "x")) == 1

    def test_a_supercell_has_as_many_as_cells(self) -> None:
        atoms = [
            (e, [(p[0] + i) / 3, p[1], (p[2] + k) / 2])
            for e, p in NACL
            for i in range(3)
            for k in range(2)
        ]
        cell = [[3 * x for x in FCC[0]], FCC[1], [2 * x for x in FCC[2]]]
        given_cell = atoms_of(summary("x", 5.6, cell, atoms, 225)["structure"], "x")
        assert translations(given_cell) == 6
        assert conventional_volume(given_cell, 225) == pytest.approx(5.6**3)

    def test_an_atom_out_of_place_makes_the_supercell_primitive(self) -> None:
        atoms = [("Fe", [0.0, 0.0, 0.0]), ("Fe", [0.5, 0.5, 0.5])]
        whole = atoms_of(summary("x", 2.9, SIMPLE, atoms, 229)["structure"], "x")
        assert translations(whole) == 2
        atoms[1] = ("Fe", [0.5, 0.5, 0.6])
        moved = atoms_of(summary("x", 2.9, SIMPLE, atoms, 229)["structure"], "x")
        assert translations(moved) == 1
        atoms[1] = ("Al", [0.5, 0.5, 0.5])
        ordered = atoms_of(summary("x", 2.9, SIMPLE, atoms, 221)["structure"], "x")
        assert translations(ordered) == 1


@settings(max_examples=60, deadline=None)
@given(
    a=st.floats(3.0, 12.0),
    centring=st.sampled_from([(FCC, 225), (BCC, 229), (SIMPLE, 221)]),
    repeats=st.tuples(*[st.integers(1, 2)] * 3),
)
def test_no_cell_is_lost_to_the_first_filter(
    a: float, centring: tuple[list[list[float]], int], repeats: tuple[int, int, int]
) -> None:
    """Whatever multiple of the primitive cell a database gives, the bound stays below the truth."""
    cell, group = centring
    big = [[n * x for x in vector] for n, vector in zip(repeats, cell, strict=True)]
    atoms = [
        ("W", [i / repeats[0], j / repeats[1], k / repeats[2]])
        for i in range(repeats[0])
        for j in range(repeats[1])
        for k in range(repeats[2])
    ]
    row = summary("x", a, big, atoms, group)
    true = conventional_volume(atoms_of(row["structure"], "x"), group)
    assert true == pytest.approx(a**3, rel=1e-6)
    assert smallest_conventional_volume(row["volume"], group, row["composition"]) <= true * 1.0001
    assert row["volume"] <= largest_volume_to_list(true * 1.0001, group)


def test_without_a_composition_the_bound_is_that_of_a_conventional_cell() -> None:
    assert smallest_conventional_volume(50.0, 225, None) == 50.0
    assert smallest_conventional_volume(50.0, 225, {"Ni": 0.5}) == 50.0
    assert smallest_conventional_volume(50.0, 225, {"Na": 1.0, "Cl": 1.0}) == 200.0
    assert smallest_conventional_volume(50.0, 225, {"Na": 2.0, "Cl": 2.0}) == 100.0


class TestPatience:
    def test_a_call_that_hangs_is_given_up(self) -> None:
        start = time.monotonic()
        with pytest.raises(DeadlineError, match=r"0\.1 s"):
            within(0.1, lambda: time.sleep(5))
        assert time.monotonic() - start < 2

    def test_results_and_errors_pass(self) -> None:
        assert within(5, lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            within(5, lambda: 1 / 0)

    def test_pauses_double_up_to_a_limit(self) -> None:
        pauses = [pause(n, 1.0, 10.0) for n in range(1, 7)]
        assert 1.0 <= pauses[0] <= 1.25
        assert 4.0 <= pauses[2] <= 5.0
        assert pauses[5] == 10.0

    def test_retry_after(self) -> None:
        assert retry_after("120") == 120.0
        assert retry_after(None) is None
        assert retry_after("soon") is None
        later = datetime.now(UTC) + timedelta(seconds=90)
        assert retry_after(format_datetime(later, usegmt=True)) == pytest.approx(90, abs=3)
        assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
