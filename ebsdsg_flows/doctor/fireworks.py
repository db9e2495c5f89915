"""FireWorks' own files, beside the data root or in ``~/.fireworks``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.doctor.findings import Finding
from ebsdsg_flows.home import HomeError, at_home

if TYPE_CHECKING:
    from ebsdsg_flows.settings import Settings

PING_SECONDS, EXPIRATION_SECONDS = 3600, 4 * 3600
"""FireWorks' own values."""


def folders(settings: Settings) -> list[Path]:
    """Where FireWorks' files are looked for: here, beside the data root, in the home folder."""
    here = [Path.cwd(), settings.root.parent]
    try:
        return [*here, at_home("~/.fireworks")]
    except HomeError:  # a user without a home
        return here


def find(settings: Settings, *names: str) -> Path | None:
    """The first file of one of some names."""
    paths = (folder / name for folder in folders(settings) for name in names)
    return next((path for path in paths if path.is_file()), None)


def read_yaml(path: Path) -> dict[str, Any]:
    """A mapping from a YAML file.

    Raises
    ------
    ValueError
        If it is none.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        content = YAML(typ="safe").load(path)
    except YAMLError as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no keys and values")
    return content


def check_fireworks(settings: Settings) -> Iterator[Finding]:
    """Signs of life expire later than they are given; no password is readable by others."""
    path = find(settings, "FW_config.yaml")
    try:
        config = {} if path is None else read_yaml(path)
    except ValueError as error:
        yield Finding("FireWorks", "fault", str(error), "correct it")
        return
    ping = config.get("PING_TIME_SECS", PING_SECONDS)
    expires = config.get("RUN_EXPIRATION_SECS", EXPIRATION_SECONDS)
    if expires <= 2 * ping:
        yield Finding(
            "FireWorks",
            "fault",
            f"{path}: RUN_EXPIRATION_SECS = {expires} with PING_TIME_SECS = {ping}: living "
            "workers would be taken for lost",
            "make RUN_EXPIRATION_SECS at least four times PING_TIME_SECS",
        )
    launchpad = find(settings, "my_launchpad.yaml", "launchpad.yaml")
    if launchpad is not None and launchpad.stat().st_mode & 0o077:
        text = launchpad.read_text(encoding="utf-8", errors="replace")
        if "@" in text.partition("://")[2].split()[0] if "://" in text else "password:" in text:
            yield Finding(
                "FireWorks",
                "fault",
                f"{launchpad} holds a password and others can read it",
                f"chmod 600 {launchpad}",
            )
            return
    if expires > 2 * ping:
        yield Finding("FireWorks", "ok", f"{path or 'no FW_config.yaml'}; ping every {ping} s")
