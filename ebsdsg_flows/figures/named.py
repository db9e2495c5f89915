"""A figure with what is said of it: its file name, title, explanation, and numbers as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@dataclass(frozen=True)
class NamedFigure:
    """A figure of a campaign or a training run.

    Parameters
    ----------
    name : of its file, without suffix.
    title : above it.
    text : what it shows, in a sentence or two; also for those who cannot see it.
    figure : the picture, on light, without a title.
    table : its numbers, where they can be read as a table.
    """

    name: str
    title: str
    text: str
    figure: Figure
    table: Sequence[Mapping[str, Any]] = ()

    def of_dataset(self, name: str, said: str) -> NamedFigure:
        """The same among those of several data sets.

        Parameters
        ----------
        name : of the data set, for the file's name.
        said : what the title says of it.
        """
        return replace(self, name=f"{self.name}_{name}", title=f"{self.title}, {said}")
