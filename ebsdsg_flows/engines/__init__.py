"""Engines: what computes a simulation. All answer to :class:`ebsdsg_flows.engines.base.Engine`."""

from __future__ import annotations

from ebsdsg_flows.engines.base import Control, Engine, EngineFailure, EngineResult
from ebsdsg_flows.engines.builtin import BuiltinEngine
from ebsdsg_flows.engines.emsoft import EMsoftEngine

ENGINES: dict[str, type[Engine]] = {"builtin": BuiltinEngine, "emsoft": EMsoftEngine}


def make_engine(name: str, **options: object) -> Engine:
    """The engine of that name.

    Parameters
    ----------
    name : ``builtin`` or ``emsoft``.
    **options : fields of its class.

    Raises
    ------
    ValueError
        If no engine has that name, or the engine has no such option or not with that value.
    """
    if name not in ENGINES:
        raise ValueError(f"unknown engine {name!r}; known: {', '.join(ENGINES)}")
    known = ENGINES[name].__dataclass_fields__
    if unknown := sorted(set(options) - set(known)):
        raise ValueError(
            f"the engine {name} has no option {', '.join(unknown)}; "
            f"it has {', '.join(known) or 'none'}"
        )
    return ENGINES[name](**options)


__all__ = [
    "ENGINES",
    "BuiltinEngine",
    "Control",
    "EMsoftEngine",
    "Engine",
    "EngineFailure",
    "EngineResult",
    "make_engine",
]
