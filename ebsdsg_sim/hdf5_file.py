"""HDF5 files that are either there and whole or not there, and one clear error when they are not.

A new file is written beside its final name, synced to disk and swapped in; what a kill leaves
behind is the old file, or none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py


class MasterPatternFileError(ValueError):
    """A file is not a complete Monte Carlo or master-pattern file; says which file and why."""


@contextmanager
def new_hdf5(path: Path, check: Callable[[Path], object] | None = None) -> Iterator[h5py.File]:
    """Open a new file for writing; it gets its name when the block ends without an error.

    Parameters
    ----------
    path : final name; an existing file is replaced.
    check : called with the closed file's temporary name before it gets its final one; what it
        raises leaves ``path`` as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.writing")
    try:
        with h5py.File(temporary, "w") as file:
            yield file
        with temporary.open("rb+") as raw:
            os.fsync(raw.fileno())
        if check is not None:
            check(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an existing file for reading.

    Parameters
    ----------
    path : of the file.

    Raises
    ------
    MasterPatternFileError
        If the file is missing or broken, or if reading it in the block fails: a missing entry, a
        value out of range.
    """
    if not path.is_file():
        raise MasterPatternFileError(f"{path}: no such file")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except MasterPatternFileError:
        raise
    except KeyError as error:
        raise MasterPatternFileError(f"{path}: an entry is missing: {error.args[0]}") from None
    except (OSError, RuntimeError, ValueError) as error:
        raise MasterPatternFileError(f"{path}: broken or not HDF5: {error}") from None
