"""The settings file: which one is read, and what stands in it.

It may hold passwords, so what is wrong with it is told by its line and never by its content.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from ebsdsg_flows.home import HomeError, at_home

VARIABLE = "EBSDSG_CONFIG_FILE"
"""Names the file; without it, or where it is empty, there may be one in the home directory."""


class SettingsError(ValueError):
    """The settings file or an ``EBSDSG_*`` variable is wrong; the message names the key."""


def config_file() -> Path | None:
    """The settings file of this process; ``None`` where none is named and the home has none.

    Raises
    ------
    SettingsError
        If the file that is named is not there, or a folder stands in its place.
    """
    named = os.environ.get(VARIABLE) or None  # empty means none, as for systemd and compose
    try:
        path = at_home("~/.ebsdsg.yaml" if named is None else named)
    except HomeError as error:
        if named is None:  # a user without a home has no file there
            return None
        raise SettingsError(f"{VARIABLE} = {error}") from None
    if named is None and not path.exists():
        return None
    if path.is_dir() or not path.exists():  # a device such as /dev/null is a file without entries
        what = "is a folder" if path.is_dir() else "is not there"
        where = f"the settings file {path}" if named is None else f"{VARIABLE} = {named!r}"
        raise SettingsError(f"{where}: {what}; name a file, or take it away")
    return path


def read_settings_file() -> dict[str, Any]:
    """Entries of the settings file; none where there is no file.

    Raises
    ------
    SettingsError
        If the file is not there, cannot be read, is not YAML, says a key twice or is not a mapping.
    """
    path = config_file()
    if path is None:
        return {}
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    must = "it must hold lines such as `workers: 4`"
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"settings file {path} cannot be read: {error.strerror}") from None
    except (YAMLError, ValueError) as error:  # among these a file that is not text
        mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
        line = "" if mark is None else f", line {mark.line + 1}"
        # its problem also shows both values
        twice = isinstance(error, DuplicateKeyError) and re.match(
            r'found duplicate key "(\w+)"', str(error.problem)
        )
        if twice:
            raise SettingsError(
                f"settings file {path}{line}: not clear, {twice[1]!r} is said twice; keep one line"
            ) from None
        raise SettingsError(
            f"settings file {path}{line}: not readable as YAML; {must}, with values that contain "
            "': ', '#' or begin with a special character in quotes"
        ) from None
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise SettingsError(f"settings file {path}, line 1: not a mapping of settings; {must}")
    return content
