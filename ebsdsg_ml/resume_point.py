"""What a training keeps of its weights while it runs: resume points, and the best weights so far.

A resume point is a Lightning checkpoint (weights, optimiser, schedule, loop counters) with the
history so far; order and augmentation need no state of their own, they follow from the step.  It is
written under a temporary name and renamed, so that a kill never leaves half of one.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from ebsdsg_ml.classifier import PatternClassifier
from ebsdsg_sim.atomic_file import new_file, write_atomically


class ResumePoint(pl.Callback):
    """Writes resume points, at the end of every epoch and every so many steps.

    Parameters
    ----------
    directory : folder of the run.
    every : steps between points inside an epoch; 0 for none.
    """

    FILE = "resume.ckpt"

    def __init__(self, directory: Path, every: int) -> None:
        self.path = directory / self.FILE
        self.every = every

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, *_: object
    ) -> None:
        """Write a point inside an epoch, if it is time; the epoch's last step waits for its end."""
        step = trainer.global_step
        inside = step % module.steps_per_epoch != 0  # type: ignore[operator]
        if self.every and inside and step % self.every == 0:
            self.write(trainer)

    def history(self) -> list[dict[str, Any]]:
        """Epochs finished at the point; none if there is no point."""
        if not self.path.exists():
            return []
        return list(torch.load(self.path, map_location="cpu", weights_only=True)["history"])

    def weights(self) -> dict[str, torch.Tensor]:
        """State of the classifier at the point."""
        return torch.load(self.path, map_location="cpu", weights_only=True)["state_dict"]

    def write(self, trainer: pl.Trainer) -> None:
        """Write a point now; all ranks take part, and rank 0 writes."""
        if not trainer.is_global_zero:
            trainer.save_checkpoint(self.path)
            return
        with new_file(self.path) as temporary:
            trainer.save_checkpoint(temporary)


class BestWeights:
    """The weights of the best epoch so far, kept in a file beside the resume point.

    Parameters
    ----------
    directory : folder of the run.
    """

    FILE = "best.pt"

    def __init__(self, directory: Path) -> None:
        self.path = directory / self.FILE

    def consider(self, module: PatternClassifier) -> None:
        """Keep the present weights if the last epoch is the best; ties go to the earlier one."""
        row = module.history[-1]
        score = row["validation_accuracy"]
        earlier = [r["validation_accuracy"] for r in module.history[:-1]]
        if score is not None and all(score > other for other in earlier):
            buffer = io.BytesIO()
            torch.save(
                {
                    "epoch": row["epoch"],
                    "confusion": module.confusion.clone(),
                    "weights": {k: t.cpu() for k, t in module.network.state_dict().items()},
                },
                buffer,
            )
            write_atomically(self.path, buffer.getbuffer())

    def restore(self, module: PatternClassifier) -> tuple[int, list[list[int]] | None]:
        """Put the best weights into the module; return their epoch and confusion matrix."""
        if module.history[-1]["validation_accuracy"] is None:
            return len(module.history), None
        best = torch.load(self.path, map_location=module.device, weights_only=True)
        module.network.load_state_dict(best["weights"])
        return int(best["epoch"]), best["confusion"].tolist()
