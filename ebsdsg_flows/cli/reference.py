"""The pages of all commands and of all settings, written from these themselves.

``python -m ebsdsg_flows.cli.reference docs/reference`` writes both (``make reference``); a test
fails when a page differs from the commands or the settings.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from enum import Enum
from inspect import unwrap
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

HEAD = """# Commands

<!-- written by `make reference` from the commands themselves; do not edit -->

`ebsdsg COMMAND --help` prints the same. Every command ends with exit code 0 when it did what it was
asked for, 1 with one line on standard error when it could not, 2 when the command line is wrong,
and 130 after Ctrl-C; Ctrl-C is how `status --watch` and `web` end, which makes theirs 0.
"""

SETTINGS_HEAD = """# Settings

<!-- written by `make reference` from the settings themselves; do not edit -->

They are read from environment variables, then from `~/.ebsdsg.yaml` (or the file that the variable
`EBSDSG_CONFIG_FILE` names, which must be there; an empty one counts as not set); what is in neither
has the default given here. The variable of a setting is `EBSDSG_` with its name in capitals, such
as `EBSDSG_DEVICE` for `device`.

| setting | default | |
|---|---|---|"""

SETTINGS_TAIL = """
The data root works like `.git`: the nearest folder `.ebsdsg` at or above the current directory,
else a new one here.
"""


def root_command() -> Any:
    """The whole command line, as the library that parses it sees it."""
    from typer.main import get_command

    from ebsdsg_flows.cli import app

    return get_command(app)


def walk(command: Any, name: str = "ebsdsg") -> Iterator[tuple[str, Any]]:
    """Every command with its full name, groups before their members, in the order of ``--help``.

    Parameters
    ----------
    command : where to begin.
    name : what it is called.
    """
    yield name, command
    for word, inner in getattr(command, "commands", {}).items():
        yield from walk(inner, f"{name} {word}")


def commands_page() -> str:
    """Markdown of the page."""
    parts = [HEAD]
    for name, command in walk(root_command()):
        is_group = bool(getattr(command, "commands", {}))
        if name == "ebsdsg":
            continue
        parts.append(f"## {name}\n\n{_sentences(command.help)}\n")
        if is_group:
            inner = ", ".join(
                f"[`{word}`](#{_anchor(f'{name} {word}')})" for word in command.commands
            )
            parts.append(f"{inner}\n")
            continue
        parts.append(f"```text\n{_usage(name, command)}\n```\n")
        hints = get_type_hints(unwrap(command.callback), include_extras=True)
        rows = [_row(param, hints[param.name]) for param in command.params if param.name != "help"]
        if rows:
            head = "| option | value | default | |\n|---|---|---|---|\n"
            parts.append(head + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _usage(name: str, command: Any) -> str:
    words = [name]
    if any(p.param_type_name == "option" and p.name != "help" for p in command.params):
        words.append("[OPTIONS]")
    for param in command.params:
        if param.param_type_name == "argument":
            word = param.name.upper() + ("..." if param.nargs == -1 else "")
            words.append(word if param.required else f"[{word}]")
    return " ".join(words)


def _row(param: Any, hint: Any) -> str:
    if param.param_type_name == "argument":
        names = f"`{param.name.upper()}`"
    else:
        names = ", ".join(f"`{name}`" for name in (*param.opts, *param.secondary_opts))
    cells = (names, _kind(hint), _default(param), _sentences(param.help))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _kind(hint: Any) -> str:
    """What a value is, from the annotation of the command's function: flags have none."""
    hint, info = get_args(hint)[:2]
    kind = next((part for part in get_args(hint) if part is not NoneType), hint)
    repeatable = get_origin(kind) is list or get_origin(hint) is list
    if repeatable:
        kind = get_args(kind)[0] if get_origin(kind) is list else get_args(hint)[0]
    if kind is bool:
        return ""
    if issubclass(kind, Enum):
        word = " or ".join(f"`{member.value}`" for member in kind)
    else:
        word = {int: "whole number", float: "number", Path: "path", str: "text"}[kind]
    if info.min is not None:
        word += f", {info.min:g} to {info.max:g}" if info.max else f", at least {info.min:g}"
    return word + (", repeatable" if repeatable else "")


def _default(param: Any) -> str:
    value = getattr(param.default, "value", param.default)
    if param.required:
        return "required"
    if value is None or value is False or value == "" or value == () or callable(value):
        return ""
    return f"`{value}`"


def _sentences(text: str | None) -> str:
    return " ".join((text or "").split())


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-"))


def settings_page() -> str:
    """Markdown of the page of settings."""
    from pydantic_core import PydanticUndefined

    from ebsdsg_flows.settings import Settings

    rows = []
    for name, field in Settings.model_fields.items():
        value = field.default
        known = value is not PydanticUndefined and value is not None
        cells = (f"`{name}`", f"`{value}`" if known else "", _sentences(field.description))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([SETTINGS_HEAD, *rows, SETTINGS_TAIL])


PAGES = {"commands.md": commands_page, "settings.md": settings_page}
"""Name of each page to what writes it."""


def main() -> None:
    """Write the pages into the folder that is named."""
    for name, page in PAGES.items():
        Path(sys.argv[1], name).write_text(page())


if __name__ == "__main__":
    main()
