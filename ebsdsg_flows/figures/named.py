"""A figure with what is said of it: its file name, title, explanation, and numbers as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    table: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def of(
        cls,
        name: str,
        suffix: str,
        title: str,
        text: str,
        figure: Figure,
        table: Sequence[Mapping[str, Any]] = (),
    ) -> NamedFigure:
        """The same with a suffix, such as the kind of label, on the name and the title."""
        return cls(
            f"{name}_{suffix}" if suffix else name,
            f"{title}, {suffix} groups" if suffix else title,
            text,
            figure,
            tuple(table),
        )
