"""Which code wrote a document: the package version and, in a checkout, the commit."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@lru_cache(maxsize=1)
def code_version() -> str:
    """Version of this code, such as ``0.1.0`` or ``0.1.0+g61a9f93`` in a git checkout.

    The commit is read from the files in ``.git`` (no program is started); uncommitted changes are
    not seen.  Without an installed distribution the version is ``0+unknown``.
    """
    try:
        release = version("ebsdsg")
    except PackageNotFoundError:
        release = "0+unknown"
    commit = _commit(Path(__file__).parents[1] / ".git")
    if commit is None:
        return release
    return f"{release}{'.' if '+' in release else '+'}g{commit[:7]}"


def _commit(git: Path) -> str | None:
    """Commit that ``HEAD`` of the git folder points to; ``None`` outside a plain checkout."""
    head = git / "HEAD"
    if not head.is_file():
        return None
    text = head.read_text(encoding="ascii").strip()
    if not text.startswith("ref: "):
        return text
    reference = text.removeprefix("ref: ")
    loose = git / reference
    if loose.is_file():
        return loose.read_text(encoding="ascii").strip()
    packed = git / "packed-refs"
    if packed.is_file():
        for line in packed.read_text(encoding="ascii").splitlines():
            if line.endswith(f" {reference}"):
                return line.split()[0]
    return None
