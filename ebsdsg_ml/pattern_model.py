"""A trained classifier as one file that can be carried to another machine.

The file holds the weights and, as JSON, all that prediction needs or a reader may ask: classes,
processing of camera images, preprocessing, detector geometry, definition of the image quality,
calibration, the data set's digest, where the weights started from and which code wrote it.  It is
read without running anything that it contains (``weights_only``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ebsdsg_ml.calibration import Calibration
from ebsdsg_ml.dataset_file import CODE_VERSION
from ebsdsg_ml.model_file import (
    ModelFileError,
    read_content,
    state_sha256,
    usable,
    write_content,
)
from ebsdsg_ml.models import GreyRepeated, rebuild_model
from ebsdsg_ml.temperature import soft_max
from ebsdsg_ml.transforms import Preprocessing
from ebsdsg_sim.device import usable_device

FORMAT = "ebsdsg model"
LAYOUT_VERSION = 2
READABLE = (1, 2)
"""Layouts that are read; the first had no processing, no quality, and a temperature at most."""


@dataclass(frozen=True)
class ModelCard:
    """What is known of a trained model.

    Parameters
    ----------
    model : torchvision name of the network.
    classes : space-group numbers, in the order of the outputs.
    label : kind of label, ``"true"`` or ``"relabelled"``.
    preprocessing : how a pattern becomes the input.
    weights_origin : ``"none"`` (random start) or file name and digest of the ImageNet weights.
    detector : geometry of the training patterns, keyword arguments of
        :class:`ebsdsg_sim.detector.Detector` other than ``shape`` (empty in old files: the
        paper's).
    dataset_sha256 : digest of the training data set's content.
    training : further facts of the training run (settings, fold, best epoch, accuracy).
    processing : how a camera's image becomes a pattern like those of the training, entries of
        :class:`ebsdsg_ml.experimental.processing.PatternProcessing`; empty (old files): cut to the
        square and resampled only.
    quality : what an image quality told beside an answer is, entries of
        :class:`ebsdsg_ml.quality.QualityDefinition`; empty (old files): of all pixels.
    calibration : fitted on phases that the model never saw; None when there were none.
    code_version : version of this package that trained it.
    """

    model: str
    classes: tuple[int, ...]
    label: str
    preprocessing: Preprocessing
    weights_origin: str = "none"
    detector: Mapping[str, Any] = field(default_factory=dict)
    dataset_sha256: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)
    processing: Mapping[str, Any] = field(default_factory=dict)
    quality: Mapping[str, Any] = field(default_factory=dict)
    calibration: Calibration | None = None
    code_version: str = CODE_VERSION

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {**asdict(self), "classes": list(self.classes)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelCard:
        """Inverse of :meth:`to_dict`.

        Raises
        ------
        ModelFileError
            If an entry is missing, unknown or unusable.
        """
        try:
            plain = dict(values)
            plain["classes"] = tuple(int(c) for c in plain["classes"])
            plain["preprocessing"] = Preprocessing.from_dict(plain["preprocessing"])
            known = plain.get("calibration")
            plain["calibration"] = Calibration.from_dict(known) if known else None
            return cls(**plain)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(f"the model's description is not usable: {error}") from error


class PatternModel:
    """A network with what is needed to use it.

    Parameters
    ----------
    network : takes (n, 1, crop, crop), gives (n, classes) logits.
    card : what is known of it.
    """

    def __init__(self, network: nn.Module, card: ModelCard) -> None:
        self.network = network.eval()
        self.card = card

    def __repr__(self) -> str:
        """One line: network, classes, input."""
        p = self.card.preprocessing
        return (
            f"<{self.card.model} for {self.card.label} groups {self.card.classes}, "
            f"patterns {p.size}x{p.size}>"
        )

    def _repr_html_(self) -> str:
        from ebsdsg_ml.cards import model_card

        return model_card(self)

    @property
    def classes(self) -> tuple[int, ...]:
        """Space-group numbers, in the order of the outputs."""
        return self.card.classes

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.network.parameters()).device

    @torch.inference_mode()
    def logits(self, patterns: Tensor | np.ndarray, *, batch: int = 128) -> Tensor:
        """Outputs of the network before the soft-max.

        Parameters
        ----------
        patterns : (n, size, size) uint8.
        batch : patterns computed at once.

        Returns
        -------
        (n, classes) float32, on the CPU.

        Raises
        ------
        TransformError
            If the patterns have another size than the training patterns.
        """
        tensor = torch.as_tensor(patterns)
        parts = []
        for start in range(0, len(tensor), batch):
            part = tensor[start : start + batch].to(self.device)
            x = self.card.preprocessing.for_evaluation(part)
            parts.append(self.network(x).float().cpu())
        return torch.cat(parts) if parts else torch.empty(0, len(self.classes))

    def probabilities(self, patterns: Tensor | np.ndarray, *, batch: int = 128) -> np.ndarray:
        """Soft-max probabilities of the classes.

        Parameters
        ----------
        patterns : (n, size, size) uint8.
        batch : patterns computed at once.

        Returns
        -------
        (n, classes) float64; rows sum to one.  At the temperature of the calibration if there is
        one.
        """
        known = self.card.calibration
        logits = self.logits(patterns, batch=batch).double().numpy()
        return soft_max(logits) if known is None else known.probabilities(logits)

    def calibrated(self, calibration: Calibration | None) -> PatternModel:
        """The same model with another calibration."""
        return PatternModel(self.network, replace(self.card, calibration=calibration))

    def weights_sha256(self) -> str:
        """Digest of the weights, by name and bytes."""
        return state_sha256(self.network.state_dict())

    def content(self) -> dict[str, Any]:
        """What a model file holds; read again by :meth:`from_content`."""
        state = {k: t.detach().cpu().contiguous() for k, t in self.network.state_dict().items()}
        card = {
            **self.card.to_dict(),
            "repeated": isinstance(self.network, GreyRepeated),
            "weights_sha256": state_sha256(state),
        }
        return {
            "format": FORMAT,
            "layout_version": LAYOUT_VERSION,
            "card": json.dumps(card, sort_keys=True),
            "weights": state,
        }

    def save(self, path: str | Path) -> Path:
        """Write the model to one file, atomically.

        Parameters
        ----------
        path : file to write.
        """
        return write_content(self.content(), Path(path))

    @classmethod
    def load(cls, path: str | Path, *, device: str = "cpu") -> PatternModel:
        """Read a model file.

        Parameters
        ----------
        path : file written by :meth:`save`.
        device : torch device to put the weights on.

        Raises
        ------
        ModelFileError
            If the file is missing, damaged, changed or of another kind.
        """
        return cls.from_content(read_content(path), Path(path), device=device)

    @classmethod
    def from_content(
        cls, content: Mapping[str, Any], path: Path, *, device: str = "cpu"
    ) -> PatternModel:
        """Model of what a file holds.

        Parameters
        ----------
        content : of :meth:`content`.
        path : the file, for messages.
        device : torch device to put the weights on.

        Raises
        ------
        ModelFileError
            If it is of another kind, of a layout that is not read, incomplete, damaged or changed.
        DeviceError
            If torch cannot compute on the device.
        """
        if not isinstance(content, Mapping) or content.get("format") != FORMAT:
            raise ModelFileError(f"{path} is not an ebsdsg model")
        if content.get("layout_version") not in READABLE:
            raise ModelFileError(
                f"{path} has layout version {content.get('layout_version')}, this program reads "
                f"{' and '.join(map(str, READABLE))}"
            )
        with usable(path):
            description = _description(content["card"])
            repeated, digest = description.pop("repeated"), description.pop("weights_sha256")
            if state_sha256(content["weights"]) != digest:
                raise ValueError("it is damaged: its weights are not the ones saved")
            card = ModelCard.from_dict(description)
            network = rebuild_model(card.model, len(card.classes), repeated=repeated)
            network.load_state_dict(content["weights"])
        return cls(network.to(usable_device(device)), card)


def _description(text: str) -> dict[str, Any]:
    """The card of a file as it was written, with the entries that only the file has."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"its card is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError("its card is no JSON object")
    return found
