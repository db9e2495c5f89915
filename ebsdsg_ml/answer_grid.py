"""A picture of what a network answers while it is trained: some patterns, truth and answer."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ebsdsg_sim.atomic_file import write_atomically

if TYPE_CHECKING:
    from ebsdsg_ml.pattern_dataset import PatternDataset

SHOWN, COLUMNS, PIXELS = 24, 6, 128

Answer = Callable[[np.ndarray], Sequence[int]]
"""Gives the index of the most probable class for each of (n, H, W) uint8 patterns."""


@dataclass(frozen=True)
class Shown:
    """Patterns of one kind in the picture.

    Parameters
    ----------
    patterns : (n, H, W) uint8.
    truth : (n,) class indices, or None where nobody knows them.
    name : written before every answer, where the picture shows patterns of several kinds.
    """

    patterns: np.ndarray
    truth: np.ndarray | None
    name: str = ""

    @classmethod
    def spread(
        cls, patterns: np.ndarray, truth: np.ndarray | None, count: int, name: str = ""
    ) -> Shown:
        """Choose `count` of the patterns, evenly spread over them."""
        chosen = evenly(len(patterns), count)
        return cls(patterns[chosen], None if truth is None else truth[chosen], name)

    def lines(self, answers: Sequence[int], classes: Sequence[int]) -> list[str]:
        """What is written under each pattern."""
        said = [classes[answer] for answer in answers]
        if self.truth is None:
            lines = [f"said {answer}" for answer in said]
        else:
            true = [classes[label] for label in self.truth]
            lines = [
                str(t) if t == a else f"{t}, said {a}" for t, a in zip(true, said, strict=True)
            ]
        return [f"{self.name} {line}".strip() for line in lines]


class AnswerGrid:
    """Draws the same patterns after every epoch.

    Parameters
    ----------
    directory : folder of the run.
    parts : the patterns, kind by kind; all of one size.
    classes : space-group numbers in the order of the classes.
    """

    def __init__(self, directory: Path, parts: Sequence[Shown], classes: Sequence[int]) -> None:
        self.directory, self.parts, self.classes = directory, list(parts), tuple(classes)

    @classmethod
    def of_dataset(cls, directory: Path, patterns: PatternDataset) -> AnswerGrid:
        """Grid of patterns that are evenly spread over a data set."""
        chosen = evenly(len(patterns), SHOWN)
        shown = Shown(patterns.read(chosen), patterns.labels[chosen])
        return cls(directory, [shown], patterns.classes)

    def draw(self, answer: Answer, epoch: int) -> str:
        """Draw the grid of an epoch; return the file's name in the folder.

        Parameters
        ----------
        answer : asked once for each kind of pattern.
        epoch : number from 1.
        """
        from ebsdsg_ml.figures import contact_sheet

        lines: list[str] = []
        for part in self.parts:
            lines += part.lines(answer(part.patterns), self.classes)
        patterns = np.concatenate([part.patterns for part in self.parts])
        sheet = contact_sheet(patterns, lines, columns=COLUMNS, pixels=PIXELS)
        buffer = io.BytesIO()
        sheet.save(buffer, format="PNG")
        name = picture_of(epoch)
        write_atomically(self.directory / name, buffer.getbuffer())
        return name


def picture_of(epoch: int) -> str:
    """Name of an epoch's picture in the folder of its run."""
    return f"epoch_{epoch:04d}.png"


def evenly(n: int, count: int) -> np.ndarray:
    """At most `count` of the indices 0 ... n - 1, evenly spread."""
    return np.unique(np.linspace(0, n - 1, count).round().astype(int))
