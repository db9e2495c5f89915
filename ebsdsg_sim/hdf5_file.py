"""HDF5 files that are either there and whole or not there, and one clear error when they are not.

New files are written as :mod:`ebsdsg_sim.atomic_file` has it: a kill leaves the old file, or none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from ebsdsg_sim.atomic_file import new_file


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
    with new_file(path) as temporary:
        with h5py.File(temporary, "w") as file:
            yield file
        if check is not None:
            check(temporary)


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
        what = "is a folder, not a file" if path.is_dir() else "no such file"
        raise MasterPatternFileError(f"{path}: {what}")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except MasterPatternFileError:
        raise
    except KeyError as error:
        raise MasterPatternFileError(f"{path}: an entry is missing: {error.args[0]}") from None
    except (OSError, RuntimeError, ValueError) as error:
        raise MasterPatternFileError(f"{path}: broken or not HDF5: {error}") from None
