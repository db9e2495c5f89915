"""Symbols, atomic numbers and atomic weights of the elements 1 to 98.

The table ends at californium because the scattering factors do.
"""

from __future__ import annotations

from functools import cache
from importlib import resources


class ElementError(ValueError):
    """An element symbol or atomic number is not one of the 98 elements that can be simulated."""


def read_table(name: str) -> list[list[str]]:
    """Rows of a packaged CSV table, without its ``#`` comment lines and its heading line."""
    text = resources.files("ebsdsg_sim").joinpath("data", name).read_text(encoding="ascii")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [line.split(",") for line in lines[1:]]


@cache
def _tables() -> tuple[dict[str, int], dict[int, str], dict[int, float]]:
    rows = read_table("atomic_weights.csv")
    numbers = {symbol: int(z) for z, symbol, _ in rows}
    return (
        numbers,
        {z: symbol for symbol, z in numbers.items()},
        {int(z): float(weight) for z, _, weight in rows},
    )


def atomic_number(symbol: str) -> int:
    """Atomic number of an element symbol such as ``"Ni"``.

    Raises
    ------
    ElementError
        If the symbol is unknown or beyond californium.
    """
    numbers = _tables()[0]
    if symbol not in numbers:
        raise ElementError(
            f"unknown element {symbol!r}: use a symbol from H (1) to Cf (98), without charge"
        )
    return numbers[symbol]


def element_symbol(number: int) -> str:
    """Chemical symbol of an atomic number, 1 to 98.

    Raises
    ------
    ElementError
        If there is no such element in the table.
    """
    symbols = _tables()[1]
    if number not in symbols:
        raise ElementError(f"atomic number {number!r}: must be an integer from 1 to 98")
    return symbols[number]


def atomic_weight(symbol: str) -> float:
    """Standard atomic weight [g/mol] (CIAAW 2021; mass number where there is none).

    Raises
    ------
    ElementError
        If the symbol is unknown.
    """
    return _tables()[2][atomic_number(symbol)]
