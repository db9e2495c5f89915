"""Engines: what computes a simulation. All answer to :class:`ebsdsg_flows.engines.base.Engine`."""

from __future__ import annotations

from ebsdsg_flows.engines.base import Engine, EngineResult
from ebsdsg_flows.engines.builtin import BuiltinEngine

ENGINES: dict[str, type[Engine]] = {"builtin": BuiltinEngine}


def make_engine(name: str, **options: object) -> Engine:
    """The engine of that name.

    Raises
    ------
    ValueError
        If no engine has that name.
    """
    if name not in ENGINES:
        raise ValueError(f"unknown engine {name!r}; known: {', '.join(ENGINES)}")
    return ENGINES[name](**options)


__all__ = ["ENGINES", "BuiltinEngine", "Engine", "EngineResult", "make_engine"]
