"""Reduced formulas taken apart, so that ``Ni3Al`` and ``AlNi3`` are one composition."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache

_PART = re.compile(r"([A-Z][a-z]?|\(|\))(\d+(?:\.\d+)?)?")


class CompositionError(ValueError):
    """A formula is not a sequence of element symbols and numbers."""


@lru_cache(maxsize=65536)
def composition(formula: str) -> tuple[tuple[str, float], ...]:
    """Elements of a reduced formula with their amounts, sorted by symbol.

    Parameters
    ----------
    formula : reduced: ``"Al4CoNi2"``, ``"Fe0.5Ni0.5"``, ``"Li(CuN)3"``.

    Returns
    -------
    Pairs (symbol, amount); the same for every order of the elements.

    Raises
    ------
    CompositionError
        If the formula cannot be read.
    """
    levels: list[dict[str, float]] = [defaultdict(float)]
    end = 0
    for part in _PART.finditer(formula):
        if part.start() != end:
            break
        end = part.end()
        symbol, factor = part[1], float(part[2] or 1)
        if symbol == "(":
            levels.append(defaultdict(float))
        elif symbol == ")":
            if len(levels) == 1:
                end = -1
                break
            for inner, amount in levels.pop().items():
                levels[-1][inner] += amount * factor
        else:
            levels[-1][symbol] += factor
    if len(levels) != 1 or not levels[0] or end != len(formula):
        raise CompositionError(f"{formula!r} is not a formula such as AlNi3")
    return tuple(sorted((symbol, float(amount)) for symbol, amount in levels[0].items()))


def proportions(formula: str) -> tuple[tuple[str, float], ...]:
    """Elements of a formula with their shares of the atoms, sorted by symbol.

    The same for every multiple: ``Al2Ni2`` is ``NiAl``.  Raises as :func:`composition`.
    """
    parts = composition(formula)
    total = sum(amount for _, amount in parts)
    return tuple((symbol, round(amount / total, 9)) for symbol, amount in parts)


def one_spelling(formulas: Iterable[str]) -> dict[str, str]:
    """Each formula with the one that stands for its composition: the first in the alphabet.

    Parameters
    ----------
    formulas : in any spelling and any multiple: ``NiAl``, ``AlNi``, ``Al2Ni2``, ``Al0.5Ni0.5``.  A
        text that is no formula is alike only to itself.
    """
    first: dict[object, str] = {}
    result = {}
    for formula in sorted(set(formulas)):
        try:
            key: object = proportions(formula)
        except CompositionError:
            key = formula
        result[formula] = first.setdefault(key, formula)
    return result


def elements(formula: str) -> tuple[str, ...]:
    """Symbols of the elements of a reduced formula, sorted; raises as :func:`composition`."""
    return tuple(symbol for symbol, _ in composition(formula))
