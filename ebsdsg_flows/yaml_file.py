"""Files that a user writes: YAML with entries, one clear error where it is anything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def read_entries(path: Path, what: str, must: str, error: type[ValueError]) -> dict[str, Any]:
    """Entries of a YAML file.

    Parameters
    ----------
    path : file.
    what : kind of file, for the message when it is missing.
    must : what it must hold, for the message when it holds no entries.
    error : raised.

    Raises
    ------
    ValueError
        The given `error`, if the file is missing, is not YAML, or is not a mapping.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if not path.is_file():
        raise error(f"no {what} file at {path}")
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as problem:
        raise error(f"{path} is not readable as YAML: {problem}") from None
    if not isinstance(content, dict):
        raise error(f"{path} must hold {must}")
    return content
