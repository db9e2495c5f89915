"""What a document looks like in a notebook: a title and a line for every fact.

No colours, no scripts and nothing from outside; every value is escaped, because names of materials
come from people's files.
"""

from __future__ import annotations

import html
from collections.abc import Mapping

_LEFT = "text-align:left;vertical-align:top"


def card(title: str, facts: Mapping[str, object]) -> str:
    """HTML of a document.

    Parameters
    ----------
    title : kind and key.
    facts : name to value, with its unit; what is ``None`` or empty is left out.
    """
    lines = "".join(
        f'<tr><th style="{_LEFT};white-space:nowrap">{html.escape(str(name))}</th>'
        f'<td style="{_LEFT}">{html.escape(str(value))}</td></tr>'
        for name, value in facts.items()
        if value is not None and value != ""
    )
    return f"<strong>{html.escape(title)}</strong><table>{lines}</table>"
