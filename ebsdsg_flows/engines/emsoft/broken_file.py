"""What is a file's own fault, and what is the machine's, however either shows itself.

A damaged HDF5 file makes nearly any exception when it is read, and is replaced.  A full disk, too
little memory, a lock or a lost permission say nothing of the file, which must then be left alone;
what is not called by its number here ends as an unexpected error that nobody's rule knows.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ebsdsg_flows.engines.base import EngineFailure
from ebsdsg_flows.engines.emsoft.failures import DISK_FULL, OUT_OF_MEMORY, REFUSED, WRONG_FILE
from ebsdsg_sim.hdf5_file import FileRefusedError, refusal

DAMAGE = (
    *(ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError),
    *(TypeError, ValueError),
)
"""What reading a damaged file raises, as tried with files in which bytes were changed."""

DEFLATE = 1032
"""Largest factor by which zlib compresses: who is asked for more was asked by a damaged size."""


@contextmanager
def reading(path: Path, what: str = "") -> Iterator[None]:
    """Read a file that EMsoft wrote; that it is damaged is a failure of its own.

    Parameters
    ----------
    path : of the file.
    what : what is said of a damaged one; its error only, if empty.

    Raises
    ------
    EngineFailure
        If the block raises what damage raises.
    OSError, MemoryError
        If the machine could not read the file, whatever it holds; :func:`naming_refusals` gives it
        its number.
    """
    try:
        yield
    except EngineFailure:
        raise
    except DAMAGE as error:
        if is_full_disk(error) or _too_little_memory(error, path):
            raise
        if (number := refusal(error)) is not None:
            raise FileRefusedError(number, os.strerror(number), str(path)) from error
        text = str(error) or type(error).__name__
        if what:
            raise WRONG_FILE.failure(f"{path.name} {what} ({text})") from None
        named = text if path.name in text else f"{path.name}: {text}"
        raise WRONG_FILE.failure(named) from None


@contextmanager
def naming_refusals() -> Iterator[None]:
    """Call by its number what the machine refuses, whoever was reading or writing.

    Raises
    ------
    EngineFailure
        If the block meets a full disk or a quota that is used up, too little memory, or another
        refusal of the system.
    """
    try:
        yield
    except EngineFailure:
        raise
    except (LookupError, MemoryError, OSError, RuntimeError) as error:
        number = refusal(error)
        if is_full_disk(error):
            raise DISK_FULL.failure(str(error)) from error
        if isinstance(error, MemoryError) or number == errno.ENOMEM:
            raise OUT_OF_MEMORY.failure(str(error)) from error
        if number is not None:
            raise REFUSED.failure(str(error)) from error
        raise


def is_full_disk(error: BaseException) -> bool:
    """Whether an exception says so; HDF5 tells it in its text only."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or re.search(DISK_FULL.pattern, str(error)) is not None


def _too_little_memory(error: BaseException, path: Path) -> bool:
    """Whether memory was missing for what a file can hold; numpy tells how much was asked for."""
    if not isinstance(error, MemoryError):
        return False
    shape, dtype = getattr(error, "shape", ()), getattr(error, "dtype", None)
    asked = getattr(dtype, "itemsize", 1)
    for length in shape:
        asked *= length
    return bool(asked <= DEFLATE * path.stat().st_size)
