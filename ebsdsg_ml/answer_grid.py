"""A picture of what a network answers while it is trained: some patterns, truth and answer."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch

from ebsdsg_ml.classifier import PatternClassifier
from ebsdsg_ml.pattern_dataset import PatternDataset
from ebsdsg_sim.atomic_file import write_atomically

SHOWN, COLUMNS, PIXELS = 24, 6, 96


class AnswerGrid:
    """Draws the same patterns, evenly spread over the data set, after every epoch.

    Parameters
    ----------
    directory : folder of the run.
    patterns : held-out patterns, or those of the training where none are held out.
    """

    def __init__(self, directory: Path, patterns: PatternDataset) -> None:
        self.directory = directory
        chosen = np.unique(np.linspace(0, len(patterns) - 1, SHOWN).round().astype(int))
        self.patterns = patterns.read(chosen)
        self.truth = [patterns.classes[label] for label in patterns.labels[chosen]]
        self.classes = patterns.classes

    @torch.no_grad()
    def draw(self, module: PatternClassifier, epoch: int) -> str:
        """Draw the grid of an epoch; return the file's name in the folder.

        Parameters
        ----------
        module : the classifier; its weights, averages and random state are left as they are.
        epoch : number from 1.
        """
        from ebsdsg_ml.figures import contact_sheet

        training = module.training
        module.eval()
        inputs = module.preprocessing.for_evaluation(torch.from_numpy(self.patterns))
        answers = module(inputs.to(module.device)).argmax(dim=1).tolist()
        module.train(training)
        said = [self.classes[answer] for answer in answers]
        lines = [
            str(true) if true == answer else f"{true}, said {answer}"
            for true, answer in zip(self.truth, said, strict=True)
        ]
        sheet = contact_sheet(self.patterns, lines, columns=COLUMNS, pixels=PIXELS)
        buffer = io.BytesIO()
        sheet.save(buffer, format="PNG")
        name = f"epoch_{epoch:04d}.png"
        write_atomically(self.directory / name, buffer.getbuffer())
        return name
