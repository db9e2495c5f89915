"""HDF5 files that are either there and whole or not there, and one clear error when they are not.

New files are written as :mod:`ebsdsg_sim.atomic_file` has it: a kill leaves the old file, or none.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from ebsdsg_sim.atomic_file import new_file


class MasterPatternFileError(ValueError):
    """A file is not a complete Monte Carlo or master-pattern file; says which file and why."""


class FileRefusedError(OSError, MasterPatternFileError):
    """The system does not let a file be read now; what it holds is not known.

    An ``OSError`` with its number, so that who would replace a broken file can tell; for all others
    a file that cannot be read, as every :class:`MasterPatternFileError`.
    """


OF_THE_FILE = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.EOVERFLOW, errno.EFBIG}
)
"""What the system answers to a name without a file, or to an impossible place in a broken one."""


def refusal(error: BaseException) -> int | None:
    """Number with which the system refused something; ``None`` if a file itself is the reason.

    Parameters
    ----------
    error : any exception.  That of a broken HDF5 file has no number (h5py 3.16 and HDF5 2.0, tried
        with truncated files and with changed bytes); that of a lock, a permission or a lost disk
        has, be it in the text of a ``KeyError`` only.
    """
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (found := re.search(r"\berrno = (\d+), error message", str(error))):
        number = int(found[1])
    return None if number in OF_THE_FILE else number


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
    FileRefusedError
        If the system does not let it be read, as a :class:`MasterPatternFileError` of its own.
    """
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "no such file"
        raise MasterPatternFileError(f"{path}: {what}")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except MasterPatternFileError:
        raise
    except (KeyError, OSError, RuntimeError, ValueError) as error:
        if (number := refusal(error)) is not None:
            raise FileRefusedError(number, os.strerror(number), str(path)) from error
        if not isinstance(error, KeyError):
            raise MasterPatternFileError(f"{path}: broken or not HDF5: {error}") from None
        raise MasterPatternFileError(f"{path}: an entry is missing: {error.args[0]}") from None
