"""How an error reaches the person at the terminal: one clear line, or the whole traceback.

Errors that this package raises on purpose (bad input, wrong settings, no database) carry a message
that says what, where and what to do; anything else is a defect and is shown in full.
"""

from __future__ import annotations

import os
import sys
import traceback

OURS = ("ebsdsg_sim", "ebsdsg_ml", "stores", "ebsdsg_flows")


def explain(error: Exception) -> int:
    """Print an error and return the exit code.

    Parameters
    ----------
    error : what a command raised.

    Returns
    -------
    1 for an error of ours (its message on one line), 2 for a defect (full traceback).
    """
    ours = type(error).__module__.split(".")[0] in OURS
    if (ours or isinstance(error, OSError)) and "EBSDSG_DEBUG" not in os.environ:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    traceback.print_exception(error)
    print("this is a defect of ebsdsg; please report it with the lines above", file=sys.stderr)
    return 2
