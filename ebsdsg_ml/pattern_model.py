"""A trained classifier as one file that can be carried to another machine.

The file holds the weights and, as JSON, all that prediction needs or a reader may ask: classes,
preprocessing, detector geometry, the data set's digest, where the weights started from and which
code wrote it.  It is read without running anything that it contains (``weights_only``).
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ebsdsg_ml.dataset_file import CODE_VERSION
from ebsdsg_ml.models import GreyRepeated, rebuild_model
from ebsdsg_ml.transforms import Preprocessing
from ebsdsg_sim.atomic_file import write_atomically

FORMAT = "ebsdsg model"
LAYOUT_VERSION = 1


class ModelFileError(ValueError):
    """A model file is missing, damaged, or not one of ours; the message says which."""


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
    detector : geometry of the training patterns as the recipe says it (empty: the paper's).
    dataset_sha256 : digest of the training data set's content.
    training : further facts of the training run (settings, fold, best epoch, accuracy).
    calibration : set by later calibration (``{"temperature": T}``); empty when there is none.
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
    calibration: Mapping[str, float] = field(default_factory=dict)
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
        (n, classes) float64; rows sum to one.  Calibrated only if the card has a temperature.
        """
        temperature = float(self.card.calibration.get("temperature", 1.0))
        logits = self.logits(patterns, batch=batch).double() / temperature
        return logits.softmax(dim=1).numpy()

    def weights_sha256(self) -> str:
        """Digest of the weights, by name and bytes."""
        return state_sha256(self.network.state_dict())

    def save(self, path: str | Path) -> Path:
        """Write the model to one file, atomically.

        Parameters
        ----------
        path : file to write.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        state = {k: t.detach().cpu().contiguous() for k, t in self.network.state_dict().items()}
        card = {
            **self.card.to_dict(),
            "repeated": isinstance(self.network, GreyRepeated),
            "weights_sha256": state_sha256(state),
        }
        buffer = io.BytesIO()
        torch.save(
            {
                "format": FORMAT,
                "layout_version": LAYOUT_VERSION,
                "card": json.dumps(card, sort_keys=True),
                "weights": state,
            },
            buffer,
        )
        write_atomically(path, buffer.getbuffer())
        return path

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
        path = Path(path)
        if not path.is_file():
            raise ModelFileError(f"model file {path} does not exist")
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many types for damaged and unsafe files
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ModelFileError(f"{path} cannot be read as a model: {reason}") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ModelFileError(f"{path} is not an ebsdsg model")
        if content.get("layout_version") != LAYOUT_VERSION:
            raise ModelFileError(
                f"{path} has layout version {content.get('layout_version')}, this program reads "
                f"{LAYOUT_VERSION}"
            )
        description = json.loads(content["card"])
        repeated, digest = description.pop("repeated"), description.pop("weights_sha256")
        if state_sha256(content["weights"]) != digest:
            raise ModelFileError(f"{path} is damaged: its weights are not the ones saved")
        card = ModelCard.from_dict(description)
        network = rebuild_model(card.model, len(card.classes), repeated=repeated)
        network.load_state_dict(content["weights"])
        return cls(network.to(device), card)


def state_sha256(state: Mapping[str, Tensor]) -> str:
    """Digest of a state dictionary: names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        array = tensor.detach().cpu().contiguous()
        digest.update(f"{name}{array.dtype}{tuple(array.shape)}".encode())
        digest.update(array.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
