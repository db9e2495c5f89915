"""A cache of compiled functions for every test process.

orix compiles its quaternion functions with numba and keeps them on disk. A function and its ufunc
wrapper are two files there, and the wrapper calls its function by a name with a number that
differs between processes. Of two processes that compile at once, one can leave the function and
the other the wrapper: every later import of orix then ends in a segmentation fault (seen in 8 of
12 trials with three processes; numba 0.68.1, orix 0.15.0). Hence no two processes share a folder.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TextIO

FOLDER = Path(__file__).parents[1] / ".pytest_cache" / "numba"


def own_numba_cache(folder: Path = FOLDER) -> TextIO:
    """Give this process, and those it starts, a folder of compiled functions that no other uses.

    Folders are kept for later runs, which find their functions compiled. Call this before numba
    is imported.

    Returns:
        The folder's lock, held as long as it is open. It ends with the process, however that ends.
    """
    number = 0
    while True:
        mine = folder / str(number)
        mine.mkdir(parents=True, exist_ok=True)
        lock = (mine / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            number += 1
        else:
            os.environ["NUMBA_CACHE_DIR"] = str(mine)
            return lock
