"""Adaptation of a classifier to unlabelled patterns: one method is one file.

:func:`adapt` runs any of them: ``source-only``, ``adabn``, ``mcd``, ``mcc``, ``self-training``.
"""

from ebsdsg_ml.adaptation.config import (
    CRITERION_NAMES,
    METHOD_NAMES,
    AdaptationConfig,
    AdaptationConfigError,
)

__all__ = [
    "CRITERION_NAMES",
    "METHOD_NAMES",
    "AdaptationConfig",
    "AdaptationConfigError",
    "Adapted",
    "DomainError",
    "Labelled",
    "adapt",
]


def __getattr__(name: str) -> object:
    """Load what needs torch when it is asked for: settings alone stay cheap to import."""
    if name in ("adapt", "Adapted"):
        from ebsdsg_ml.adaptation import fit

        return getattr(fit, name)
    if name in ("Labelled", "DomainError"):
        from ebsdsg_ml.adaptation import domains

        return getattr(domains, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
