"""Figures as files: SVG and PNG drawn by a browser without a window, HTML and JSON without one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from ebsdsg_ml.figures.theme import FigureError, themed

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SUFFIXES = (".svg", ".png", ".html", ".json")
DRAWN = (".svg", ".png")
"""Formats that a browser draws."""

WIDTH = 900
"""Width of a picture where none is given [pixel]."""


def save_figure(
    figure: Figure, path: str | Path, *, dark: bool = False, width: int = WIDTH, scale: float = 2
) -> Path:
    """Write one figure; see :func:`save_figures`."""
    return save_figures({path: figure}, dark=dark, width=width, scale=scale)[0]


def save_figures(
    figures: Mapping[str | Path, Figure],
    *,
    dark: bool = False,
    width: int = WIDTH,
    scale: float = 2,
) -> list[Path]:
    """Write figures in the formats that their suffixes name.

    Parameters
    ----------
    figures : file -> figure.  ``.svg`` and ``.png`` are drawn by Chrome or Chromium (one start for
        all of them); ``.html`` can be looked at without a network; ``.json`` is plotly's.
    dark : light text on a dark background.
    width : of a picture [pixel]; the height is the figure's own.
    scale : pixels of a PNG per pixel of the figure.

    Returns
    -------
    The files, each whole and under its name.

    Raises
    ------
    FigureError
        If a suffix is none of these, or a browser is needed and there is none.
    """
    from ebsdsg_sim.atomic_file import new_file

    paths = {Path(path): themed(figure, dark) for path, figure in figures.items()}
    for path in paths:
        if path.suffix.lower() not in SUFFIXES:
            raise FigureError(f"{path}: figures are written as {', '.join(SUFFIXES)}")
    drawn = [path for path in paths if path.suffix.lower() in DRAWN]
    with ExitStack() as files:
        temporary = {}
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary[path] = files.enter_context(new_file(path))
        for path, figure in paths.items():
            suffix = path.suffix.lower()
            if suffix == ".html":
                temporary[path].write_text(figure.to_html(include_plotlyjs=True), encoding="utf-8")
            elif suffix == ".json":
                temporary[path].write_text(str(figure.to_json()), encoding="utf-8")
        if drawn:
            _draw({path: paths[path] for path in drawn}, temporary, width, scale)
    return list(paths)


def _draw(
    figures: Mapping[Path, Figure], files: Mapping[Path, Path], width: int, scale: float
) -> None:
    """Let one browser draw all of them."""
    import kaleido
    from choreographer.errors import BrowserDepsError, BrowserFailedError, ChromeNotFoundError

    async def drawn() -> None:
        # no figure has formulas; without this it asks the internet for what draws them
        async with kaleido.Kaleido(mathjax=False) as browser:
            for path, figure in figures.items():
                kind = path.suffix.lower()[1:]
                options = {
                    "format": kind,
                    "width": width,
                    "height": figure.layout.height,
                    "scale": scale if kind == "png" else 1,
                }
                files[path].write_bytes(await browser.calc_fig(figure, options))

    try:
        # in a thread of its own, as a notebook's thread has its event loop already
        with ThreadPoolExecutor(1) as thread:
            thread.submit(lambda: asyncio.run(drawn())).result()
    except ChromeNotFoundError as error:
        raise FigureError(_no_browser("none is found")) from error
    except (BrowserFailedError, BrowserDepsError) as error:
        raise FigureError(_no_browser("the one that is found does not start")) from error


def _no_browser(why: str) -> str:
    return (
        f"SVG and PNG are drawn by Chrome or Chromium, and {why}: install it (Debian: apt-get "
        "install chromium) or name it in BROWSER_PATH, or write .html or .json instead"
    )
