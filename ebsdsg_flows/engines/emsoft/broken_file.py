"""Files that are damaged and disks that are full: each is one failure, however it shows itself.

A damaged HDF5 file makes nearly any exception when it is read, a full disk several when something
is written; what is not called by its number here ends as an unexpected error that nobody's rule
knows.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ebsdsg_flows.engines.base import EngineFailure
from ebsdsg_flows.engines.emsoft.failures import DISK_FULL, WRONG_FILE

DAMAGE = (
    *(ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError),
    *(TypeError, ValueError),
)
"""What reading a damaged file raises, as tried with files in which bytes were changed."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Read a file that EMsoft wrote; that it is damaged is a failure of its own.

    Parameters
    ----------
    path : named in the message.

    Raises
    ------
    EngineFailure
        If the block raises what damage raises.
    """
    try:
        yield
    except EngineFailure:
        raise
    except DAMAGE as error:
        if is_full_disk(error):
            raise
        text = str(error) or type(error).__name__
        named = text if path.name in text else f"{path.name}: {text}"
        raise WRONG_FILE.failure(named) from None


@contextmanager
def naming_a_full_disk() -> Iterator[None]:
    """Call a full disk by its number, whoever was writing.

    Raises
    ------
    EngineFailure
        If the block meets a full disk or a quota that is used up.
    """
    try:
        yield
    except EngineFailure:
        raise
    except (OSError, RuntimeError) as error:
        if not is_full_disk(error):
            raise
        raise DISK_FULL.failure(str(error)) from error


def is_full_disk(error: BaseException) -> bool:
    """Whether an exception says so; HDF5 tells it in its text only."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or re.search(DISK_FULL.pattern, str(error)) is not None
