"""Paths as people write them, with ``~`` for a home folder."""

from __future__ import annotations

from pathlib import Path


class HomeError(ValueError):
    """A path begins with ``~`` and the home folder that it means is not known."""


def at_home(path: str | Path) -> Path:
    """A path with the home folder in the place of ``~`` or ``~user``.

    Parameters
    ----------
    path : as a person wrote it.

    Raises
    ------
    HomeError
        If there is no such user, or the system does not say where their home is.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        whose = Path(path).parts[0]
        raise HomeError(f"{path}: no home folder {whose} is known; write the whole path") from None
