"""What objects look like in a notebook: a picture, a few facts, a table.

No colours, no scripts and nothing from outside, so that the same text reads well in a light and a
dark notebook and in a saved page; every value is escaped, because names come from people's files.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

#: Pixels of a small picture; larger ones are thinned out.
PIXELS = 160

_LEFT = "text-align:left;vertical-align:top"


def picture(
    image: np.ndarray, alt: str, *, pixels: int = PIXELS, inside: np.ndarray | None = None
) -> str:
    """Small picture with its content in the text itself (a PNG as a data URI).

    Parameters
    ----------
    image : (rows, columns) uint8 grey levels.
    alt : what is to be seen, in words.
    pixels : longest side; smaller images are shown enlarged, larger ones reduced.
    inside : (rows, columns) bool; the other pixels are transparent.
    """
    from PIL import Image

    drawn = Image.fromarray(np.ascontiguousarray(image, dtype=np.uint8))
    if inside is not None:
        drawn = drawn.convert("LA")
        drawn.putalpha(Image.fromarray(np.where(inside, 255, 0).astype(np.uint8)))
    drawn.thumbnail((pixels, pixels), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    drawn.save(stream, format="PNG")
    width = round(pixels * image.shape[1] / max(image.shape))
    return (
        f'<img alt="{html.escape(alt)}" width="{width}" '
        f'src="data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}">'
    )


def card(title: str, facts: Mapping[str, object], pictures: Iterable[str] = ()) -> str:
    """Pictures, a title and a line for every fact.

    Parameters
    ----------
    title : what it is.
    facts : name to value, with the unit in one of them; escaped here.
    pictures : made by `picture`.
    """
    lines = "".join(
        f'<tr><th style="{_LEFT};white-space:nowrap">{html.escape(str(name))}</th>'
        f'<td style="{_LEFT}">{html.escape(str(value))}</td></tr>'
        for name, value in facts.items()
    )
    return (
        '<div style="display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start">'
        f"{''.join(pictures)}<div><strong>{html.escape(title)}</strong><table>{lines}</table></div>"
        "</div>"
    )


class Raw(str):
    """Text that is HTML already, such as a `picture`: not escaped in a `table`."""


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Table with a head; cells are escaped unless they are `Raw`.

    Parameters
    ----------
    head : names of the columns.
    rows : as many cells as there are columns.
    """
    cells = [("th", head), *(("td", row) for row in rows)]
    lines = (
        "<tr>"
        + "".join(
            f'<{tag} style="{_LEFT}">'
            f"{cell if isinstance(cell, Raw) else html.escape(str(cell))}</{tag}>"
            for cell in row
        )
        + "</tr>"
        for tag, row in cells
    )
    return f"<table>{''.join(lines)}</table>"
