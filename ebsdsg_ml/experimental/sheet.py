"""A picture of experimental patterns, and a page with it and a table."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ebsdsg_ml.experimental.pattern_set import PatternSet, read_pattern_set, stored_patterns
from ebsdsg_ml.figures import class_name, contact_sheet
from ebsdsg_sim.card import table

if TYPE_CHECKING:
    from PIL import Image


def spread(held: PatternSet, count: int) -> np.ndarray:
    """Rows of up to `count` patterns, as many of each phase as of any other, over its qualities.

    Parameters
    ----------
    held : set of patterns.
    count : how many.

    Returns
    -------
    Rows: phase by phase, the best first.
    """
    kinds = np.unique(held.phase)
    chosen: list[np.ndarray] = []
    left = min(count, len(held))
    members = sorted((np.flatnonzero(held.phase == kind) for kind in kinds), key=len)
    for done, rows in enumerate(members):
        share = min(len(rows), left // (len(members) - done))
        ordered = rows[np.argsort(-held.quality[rows], kind="stable")]
        if share:
            chosen.append(ordered[np.linspace(0, len(rows) - 1, share).round().astype(int)])
            left -= share
    return np.concatenate(chosen)


def labels_of(held: PatternSet, rows: Iterable[int]) -> list[str]:
    """One line for each of some patterns: phase, space group, quality."""
    names = held.phase_names()
    return [
        f"{names[i] or '?'} {held.label[i] or ''}".strip() + f", Q {held.quality[i]:.3f}"
        for i in rows
    ]


def pattern_sheet(
    path: str | Path, *, count: int = 24, columns: int = 6, pixels: int = 160
) -> Image.Image:
    """Contact sheet of a file of experimental patterns.

    Parameters
    ----------
    path : file written by :func:`ebsdsg_ml.experimental.read.import_patterns`.
    count : patterns shown, spread over phases and qualities.
    columns : patterns per row.
    pixels : width of a pattern in the picture.
    """
    held = read_pattern_set(path, patterns=False)
    rows = spread(held, count)
    return contact_sheet(
        stored_patterns(path, rows), labels_of(held, rows), columns=columns, pixels=pixels
    )


def source_lines(held: PatternSet) -> list[tuple[str, str, str, str]]:
    """Where patterns come from: kind, files, source and licence, remarks; equal ones as one."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for row in held.sources:
        terms = ", ".join(text for text in (row["source"], row["licence"]) if text)
        key = (row["kind"], terms, "; ".join(row["remarks"]))
        groups.setdefault(key, []).append(Path(row["path"]).name)
    return [
        (kind, files[0] if len(files) == 1 else f"{len(files)} files", terms, remarks)
        for (kind, terms, remarks), files in groups.items()
    ]


def pattern_page(path: str | Path, *, count: int = 24) -> str:
    """The same as an HTML page that needs no other file, with tables of phases and sources.

    Parameters
    ----------
    path, count : as for :func:`pattern_sheet`.
    """
    held = read_pattern_set(path, patterns=False)
    stream = io.BytesIO()
    pattern_sheet(path, count=count).save(stream, format="PNG")
    picture = base64.b64encode(stream.getvalue()).decode()
    definition = held.quality_definition
    title = f"{len(held)} experimental patterns"
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>",
        "<style>body{font:15px/1.5 sans-serif;margin:2em auto;max-width:64em;padding:0 1em}"
        "img{max-width:100%}table{border-collapse:collapse}td,th{padding:.2em .8em .2em 0;"
        "text-align:left;border-bottom:1px solid #ccc;vertical-align:top}</style>",
        f"<h1>{title}</h1><img alt='patterns with phase, space group and quality' "
        f"src='data:image/png;base64,{picture}'>",
        table(
            ("phase", "space group", "patterns", "quality: lowest, median, highest"),
            [
                (
                    row["name"] or "not known",
                    class_name(row["space_group"]) if row["space_group"] else "not known",
                    str(row["patterns"]),
                    ", ".join(f"{q:.3f}" for q in row["quality"]),
                )
                for row in phase_summary(held)
            ],
        ),
        f"<p>Quality: {html.escape(definition['formula'])}; {definition['size']} pixels per side, "
        f"mask {definition['mask'] or 'none'}.</p>",
        table(("kind", "file", "source, licence", "remarks"), source_lines(held)),
    ]
    return "\n".join(parts)


def phase_summary(held: PatternSet) -> list[dict[str, Any]]:
    """Rows of the table of phases, each with its ``patterns`` and ``quality``.

    Returns
    -------
    One dictionary per phase that has patterns, and one without a name for those of no phase.
    """
    nobody: dict[str, Any] = {"name": "", "space_group": None, "given": {}, "in_file": {}}
    rows = []
    for index in (*range(len(held.phases)), -1):
        quality = held.quality[held.phase == index]
        if quality.size:
            row = nobody if index < 0 else held.phases[index]
            rows.append({**row, "patterns": int(quality.size), "quality": quality_summary(quality)})
    return rows


def quality_summary(quality: np.ndarray) -> list[float]:
    """Lowest, median and highest of some qualities, without those that are NaN."""
    known = quality[~np.isnan(quality)]
    if not known.size:
        return []
    return [round(float(v), 6) for v in (known.min(), np.median(known), known.max())]
