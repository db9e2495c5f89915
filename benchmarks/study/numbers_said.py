"""Numbers as the page says them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .relabelling import CLASSES


def percent(value: float | None, digits: int = 1) -> str:
    """A share in percent, without the sign."""
    return "–" if value is None else f"{100 * value:.{digits}f}"


def spread(interval: Mapping[str, Any]) -> str:
    """Mean and half width in percent."""
    half = interval["half_width"]
    return f"{percent(interval['mean'])} ± {'?' if half is None else percent(half)}"


def counts(phases: Sequence[Mapping[str, Any]], label: str) -> str:
    """Number of phases of every class."""
    numbers = [sum(p[label] == group for p in phases) for group in CLASSES]
    return " | ".join(str(n) for n in numbers)
