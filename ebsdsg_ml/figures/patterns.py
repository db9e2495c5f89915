"""Kikuchi patterns beside simulations (the paper's SI Fig. 4 and 11), and contact sheets."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ebsdsg_ml.figures.theme import FigureError, share_bar, template

if TYPE_CHECKING:
    from PIL import Image
    from plotly.graph_objects import Figure

LOW, MIDDLE, HIGH = (0, 114, 178), (255, 255, 255), (213, 94, 0)
"""Blue, white and vermilion: colours of a difference below, at and above zero."""


def candidate_figure(
    pattern: ArrayLike,
    candidates: Mapping[str, ArrayLike],
    title: str = "",
    name: str = "pattern",
) -> Figure:
    """A pattern, simulations that may be it, and the difference to each.

    Parameters
    ----------
    pattern : (H, W) intensities, of any scale.
    candidates : name -> (H, W) simulated intensities in the same geometry.
    title : above the picture.
    name : of the pattern, above it.

    Returns
    -------
    The pattern; below it each candidate with its normalised cross-correlation (NCC), and beside it
    the difference, pattern less candidate, both brought to mean 0 and deviation 1.

    Raises
    ------
    FigureError
        If there is no candidate, shapes differ, or an image is blank.
    """
    import plotly.graph_objects as go

    from ebsdsg_sim.comparison import normalised_cross_correlation

    given = {name: np.asarray(pattern, dtype=float)}
    if not candidates or name in candidates:
        raise FigureError(f"candidates named {list(candidates)} for a pattern named {name!r}")
    given |= {key: np.asarray(image, dtype=float) for key, image in candidates.items()}
    flat = {key: _standardised(image, given[name].shape, key) for key, image in given.items()}
    differences = {key: flat[name] - flat[key] for key in candidates}
    limit = max(float(np.quantile(np.abs(d), 0.995)) for d in differences.values()) or 1.0
    score = {key: normalised_cross_correlation(flat[name], flat[key]) for key in candidates}
    titles = [name, ""]
    for key in candidates:
        titles += [f"{key}<br>NCC {score[key]:.3f}", "difference"]
    figure = _grid(rows=len(given), columns=2, titles=titles, empty=(0, 1))
    for row, (key, image) in enumerate(flat.items(), 1):
        figure.add_trace(_image(_levels(image, -2.5, 2.5)), row=row, col=1)
        if key in differences:
            figure.add_trace(_image(_diverging(differences[key] / limit)), row=row, col=2)
    steps = [0.0, 0.5, 1.0]
    scale = [[s, f"rgb{c}"] for s, c in zip(steps, (LOW, MIDDLE, HIGH), strict=True)]
    figure.add_trace(
        go.Scatter(
            x=[None],
            y=[None],
            mode="markers",
            marker={
                "color": [0],
                "colorscale": scale,
                "cmin": -limit,
                "cmax": limit,
                "colorbar": share_bar("difference [standard deviations]"),
            },
            showlegend=False,
            hoverinfo="skip",
        ),
        row=2,
        col=2,
    )
    figure.layout.template = template()
    figure.update_layout(
        title=title,
        height=180 + 280 * len(given),
        margin={"b": 130, "t": 70},
    )
    return figure


def debye_waller_figure(
    patterns: Sequence[ArrayLike], factors: Sequence[float], title: str = ""
) -> Figure:
    """The same pattern with several Debye-Waller factors B, on one grey scale.

    Parameters
    ----------
    patterns : (H, W) intensities each, of one orientation and detector; not scaled to 8 bits, which
        would hide what changes.
    factors : B of each [nm²].
    title : above the picture.

    Returns
    -------
    Every pattern divided by its mean; above it B, the contrast (standard deviation over mean) and
    the normalised cross-correlation (NCC) with the first.

    Raises
    ------
    FigureError
        If there is no pattern, not one factor for each, or shapes differ.
    """
    from ebsdsg_sim.comparison import normalised_cross_correlation

    if not len(patterns) or len(patterns) != len(factors):
        raise FigureError(f"{len(factors)} Debye-Waller factors for {len(patterns)} patterns")
    images = [np.asarray(pattern, dtype=float) for pattern in patterns]
    for factor, image in zip(factors, images, strict=True):
        _standardised(image, images[0].shape, f"B = {factor:g} nm²")
    relative = [image / image.mean() for image in images]
    low, high = np.quantile(relative, [0.002, 0.998])
    columns = min(2, len(images))
    figure = _grid(
        rows=-(-len(images) // columns),
        columns=columns,
        titles=[
            f"B = {factor:g} nm²<br>contrast {image.std():.3f}<br>"
            f"NCC {normalised_cross_correlation(relative[0], image):.3f}"
            for factor, image in zip(factors, relative, strict=True)
        ],
    )
    for place, image in enumerate(relative):
        figure.add_trace(
            _image(_levels(image, low, high)), row=place // columns + 1, col=place % columns + 1
        )
    figure.layout.template = template()
    figure.update_layout(
        title=title,
        height=120 + 330 * -(-len(images) // columns),
        margin={"t": 110},
    )
    return figure


def contact_sheet(
    patterns: ArrayLike,
    labels: Sequence[str],
    *,
    columns: int = 6,
    pixels: int = 128,
) -> Image.Image:
    """Patterns side by side with a line of text under each.

    Parameters
    ----------
    patterns : (n, H, W) uint8.
    labels : (n,) one line each.
    columns : patterns per row.
    pixels : width of a pattern in the picture.

    Raises
    ------
    FigureError
        If there is no pattern, or not one label for each.
    """
    from PIL import Image, ImageDraw, ImageFont

    stack = np.asarray(patterns)
    if stack.ndim != 3 or stack.dtype != np.uint8 or not len(stack):
        raise FigureError(f"patterns: {stack.dtype} {stack.shape}, expected (n, H, W) uint8")
    if len(labels) != len(stack):
        raise FigureError(f"{len(labels)} labels for {len(stack)} patterns")
    columns = min(columns, len(stack))
    rows = -(-len(stack) // columns)
    tall = round(pixels * stack.shape[1] / stack.shape[2])
    gap, text = 6, 16
    sheet = Image.new(
        "L", (columns * (pixels + gap) + gap, rows * (tall + text + gap) + gap), color=255
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    for i, (pattern, label) in enumerate(zip(stack, labels, strict=True)):
        x = gap + (i % columns) * (pixels + gap)
        y = gap + (i // columns) * (tall + text + gap)
        # enlarged pixels stay visible as such; a smaller picture is smoothed
        method = Image.Resampling.NEAREST if pixels >= stack.shape[2] else Image.Resampling.LANCZOS
        sheet.paste(Image.fromarray(pattern).resize((pixels, tall), method), (x, y))
        while label and draw.textlength(label, font=font) > pixels:
            label = label[:-2].rstrip("…") + "…" if len(label) > 2 else ""
        draw.text((x, y + tall + 1), label, fill=0, font=font)
    return sheet


def _grid(
    rows: int, columns: int, titles: Sequence[str], empty: tuple[int, int] | None = None
) -> Figure:
    """Axes for images, in pixels, with titles along the edges only."""
    from plotly.subplots import make_subplots

    figure = make_subplots(
        rows=rows,
        cols=columns,
        specs=[[None if (i, j) == empty else {} for j in range(columns)] for i in range(rows)],
        subplot_titles=[t for i, t in enumerate(titles) if divmod(i, columns) != empty],
        horizontal_spacing=0.03,
        vertical_spacing=0.18 / rows,
    )
    figure.update_annotations(font={"size": 12})
    figure.update_xaxes(showgrid=False, showticklabels=False, constrain="domain")
    figure.update_yaxes(showgrid=False, showticklabels=False, constrain="domain")
    for column in range(1, columns + 1):
        figure.update_xaxes(title="x [pixel]", showticklabels=True, row=rows, col=column)
    for row in range(1, rows + 1):
        figure.update_yaxes(title="y [pixel]", showticklabels=True, row=row, col=1)
    return figure


def _standardised(image: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    if image.ndim != 2 or image.shape != shape:
        raise FigureError(f"{name}: an image of shape {image.shape}, expected {shape} (H, W)")
    deviation = image.std()
    if not np.isfinite(deviation) or deviation == 0:
        raise FigureError(f"{name}: the image is blank or holds values that are not numbers")
    return (image - image.mean()) / deviation


def _levels(image: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.round(255 * np.clip((image - low) / (high - low), 0, 1)).astype(np.uint8)


def _diverging(share: np.ndarray) -> np.ndarray:
    """(H, W, 3) colours of values between -1 and 1."""
    part = np.clip(np.abs(share), 0, 1)[..., None]
    end = np.where(share[..., None] < 0, np.array(LOW), np.array(HIGH))
    return np.round((1 - part) * np.array(MIDDLE) + part * end).astype(np.uint8)


def _image(pixels: np.ndarray) -> object:
    """Trace of an image; as PNG it takes a hundredth of what its numbers would."""
    import plotly.graph_objects as go
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    source = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    return go.Image(source=source, hoverinfo="x+y")
