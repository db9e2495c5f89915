"""What a training run leaves behind, and how it is read again.

A folder with a ``result.json`` is a finished run; the file names the model file and its digest.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ebsdsg_ml.dataset_file import CODE_VERSION
from ebsdsg_ml.pattern_source import file_sha256
from ebsdsg_ml.protocol import TrainingConfig
from ebsdsg_sim.atomic_file import write_atomically

OnEpoch = Callable[[dict[str, Any]], None]
"""Called with the row of every finished epoch (``epoch``, ``step``, ``learning_rate``,
``train_loss``, ``train_accuracy``, ``validation_loss``, ``validation_accuracy``, ``seconds``), and
``files``, names of files in the run's folder by what they are: ``checkpoint``, ``images``."""


class TrainingError(RuntimeError):
    """A run cannot be started, resumed or read; the message says which folder and why."""


def write_history(directory: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Write the epochs of a run as ``metrics.csv``, for whoever has no database at hand.

    Parameters
    ----------
    directory : folder of the run.
    history : rows; all have the same numbers.
    """
    names = [name for name in history[0] if name != "files"]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_atomically(directory / "metrics.csv", text.getvalue().encode())


@dataclass(frozen=True)
class TrainingResult:
    """What a run gave.

    Parameters
    ----------
    directory : folder of the run.
    model_path, model_sha256 : the model file.
    weights_sha256 : digest of the weights in it.
    history : one row per epoch; see :data:`OnEpoch`.
    best_epoch : epoch whose weights the model has: the first of highest validation accuracy, or the
        last one when there was no validation.
    validation_accuracy : of that epoch, or None.
    confusion : its validation confusion matrix (rows: true), or None.
    classes : space-group numbers in the order of the matrix.
    validation_fold : fold left out of the training, or None for a final model.
    dataset_sha256 : digest of the data set's content.
    config : the settings.
    precision, device, threads : what was computed with.
    weights_origin : ``"none"`` or name and digest of the ImageNet weights.
    n_training, n_validation : numbers of patterns.
    seconds : wall time of all epochs.
    code_version : version of this package.
    calibration : entries of :class:`ebsdsg_ml.calibration.Calibration`, fitted on the validation
        fold and kept in the model file; None without one.
    """

    directory: Path
    model_path: Path
    model_sha256: str
    weights_sha256: str
    history: list[dict[str, Any]]
    best_epoch: int
    validation_accuracy: float | None
    confusion: list[list[int]] | None
    classes: tuple[int, ...]
    validation_fold: int | None
    dataset_sha256: str
    config: TrainingConfig
    precision: str
    device: str
    threads: int
    weights_origin: str
    n_training: int
    n_validation: int
    seconds: float
    code_version: str = CODE_VERSION
    calibration: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, for a document."""
        return {
            **self.__dict__,
            "directory": str(self.directory),
            "model_path": str(self.model_path),
            "classes": list(self.classes),
            "config": self.config.to_dict(),
        }

    def _repr_html_(self) -> str:
        from ebsdsg_ml.cards import training_card

        return training_card(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingResult:
        """Inverse of :meth:`to_dict`."""
        plain = dict(values)
        plain["directory"] = Path(plain["directory"])
        plain["model_path"] = Path(plain["model_path"])
        plain["classes"] = tuple(plain["classes"])
        plain["config"] = TrainingConfig.from_dict(plain["config"])
        return cls(**plain)


def finished_result(directory: str | Path) -> TrainingResult | None:
    """Result of a finished run, or None if the folder has none.

    Parameters
    ----------
    directory : folder of the run; it may have been moved since.

    Raises
    ------
    TrainingError
        If the result is there but unreadable, or its model file is missing or changed.
    """
    directory = Path(directory)
    path = directory / "result.json"
    if not path.exists():
        return None
    try:
        values = json.loads(path.read_text())
        values["directory"] = directory
        values["model_path"] = directory / Path(values["model_path"]).name
        result = TrainingResult.from_dict(values)
    except (KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"{path} is not the result of a run: {error}") from error
    if not result.model_path.is_file() or file_sha256(result.model_path) != result.model_sha256:
        raise TrainingError(
            f"{result.model_path} is missing or changed since the run ended; remove {path} and "
            "train again"
        )
    return result
