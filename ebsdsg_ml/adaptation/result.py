"""What an adaptation in a folder of its own leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ebsdsg_ml.adaptation.config import AdaptationConfig

ORIGIN = "model sha256 "
"""What the origin of weights begins with that are a model's; the digest of those follows."""


@dataclass(frozen=True)
class AdaptationResult:
    """What an adaptation gave.

    Parameters
    ----------
    model_path, model_sha256, weights_sha256 : the model file and the weights in it.
    history : one row per epoch; see :class:`ebsdsg_ml.adaptation.fit.Adapted`.
    best_epoch, criterion : whose weights the model has, and what chose it.
    prior : estimated shares of the classes in the target, or None.
    classes : space-group numbers.
    config : the settings.
    weights_origin : what the weights started from.
    precision, device, threads : what was computed with.
    sources_sha256, target_sha256 : digests of the patterns.
    n_source, n_target : their numbers.
    target_accuracy : of the chosen epoch where the truth is known; nothing was chosen by it.
    remarks : on the target, see :class:`ebsdsg_ml.adaptation.target.TargetPatterns`.
    """

    model_path: Path
    model_sha256: str
    weights_sha256: str
    history: list[dict[str, Any]]
    best_epoch: int
    criterion: str
    prior: list[float] | None
    classes: tuple[int, ...]
    config: AdaptationConfig
    weights_origin: str
    precision: str
    device: str
    threads: int
    sources_sha256: tuple[str, ...]
    target_sha256: str
    n_source: int
    n_target: int
    target_accuracy: float | None
    remarks: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            **asdict(self),
            "model_path": self.model_path.name,
            "classes": list(self.classes),
            "sources_sha256": list(self.sources_sha256),
            "remarks": list(self.remarks),
            "config": self.config.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], directory: Path) -> AdaptationResult:
        """Inverse of :meth:`to_dict`, for the folder that the result was found in."""
        plain = dict(values)
        plain["model_path"] = directory / plain["model_path"]
        plain["classes"] = tuple(plain["classes"])
        plain["sources_sha256"] = tuple(plain["sources_sha256"])
        plain["remarks"] = tuple(plain.get("remarks", ()))
        plain["config"] = AdaptationConfig.from_dict(plain["config"])
        return cls(**plain)
