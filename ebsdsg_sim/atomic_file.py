"""Files that appear under their name whole and on the disk, or not at all.

A file is written beside its final name, synced, and renamed; the folder is synced after that.  What
a kill or a full disk leaves is the old file, or none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def new_file(path: str | os.PathLike[str], *, replace: bool = True) -> Iterator[Path]:
    """Name to write a file under; it gets its own when the block ends without an error.

    Parameters
    ----------
    path : final name, in a folder that exists.
    replace : whether an existing file may be replaced.

    Yields
    ------
    Path beside ``path`` that no other process or thread writes to.  Whatever must be checked is
    checked inside the block, with the file closed; an error leaves ``path`` as it was.

    Raises
    ------
    FileExistsError
        If the file exists, however lately it appeared, and may not be replaced.
    OSError
        If the block wrote nothing, or the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{uuid4().hex[:8]}.writing")
    try:
        yield temporary
        sync(temporary)
        if replace:
            temporary.replace(path)
        else:
            os.link(temporary, path)  # unlike a rename, this fails where there is a file
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_atomically(path: str | os.PathLike[str], content: bytes | memoryview) -> None:
    """Write a file that is never seen half written.

    Parameters
    ----------
    path : file to write, in a folder that exists; replaced if it exists.
    content : all of it.
    """
    with new_file(path) as temporary:
        temporary.write_bytes(content)


def sync(path: Path) -> None:
    """Wait until the content of a closed file is on the disk.

    Parameters
    ----------
    path : of the file.
    """
    with path.open("rb+") as file:
        os.fsync(file.fileno())
