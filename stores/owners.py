"""Which process owns a claim, and whether it still lives.

A claim is taken over when its owner is known to be gone.  On the same machine that is known at
once; from another machine only an old heartbeat tells.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from stores.documents import Owner


def this_process() -> Owner:
    """The calling process, as an owner of claims."""
    pid = os.getpid()
    return Owner(
        host=socket.gethostname(), pid=pid, pid_started=_started(pid), namespace=_namespace()
    )


def is_gone(owner: Owner) -> bool:
    """Whether the owner is known to have ended.

    Returns
    -------
    ``True`` only if this process can tell: same host, same boot and pid namespace, and the pid is
    free, a zombie, or was given to a later process.  ``False`` if it lives or nobody here can know.
    """
    if owner.host != socket.gethostname():
        return False
    if owner.namespace != _namespace():
        return False
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    if owner.pid_started is None:
        return False
    return _started(owner.pid) != owner.pid_started


def _namespace() -> str | None:
    """Boot id and pid namespace; a pid means something within them only.  ``None`` off Linux."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    space = Path("/proc/self/ns/pid")
    try:
        return f"{boot.read_text(encoding='ascii').strip()}/{space.readlink()}"
    except OSError:
        return None


def _started(pid: int) -> str | None:
    """Start time of a living process in clock ticks since boot; ``None`` if unknown."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # the command, in parentheses, may hold anything; proc(5): state is field 3, starttime 22
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]
