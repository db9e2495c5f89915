"""Programs that tests need from Debian: installed where they are missing, never skipped.

Where this user may not install, the tests that need them fail and say what to install.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

# Debian puts daemons where the PATH of ordinary users does not look
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


class ProgramMissing(RuntimeError):
    """A program is not installed and could not be installed."""


def require(programs: Sequence[str], packages: Sequence[str]) -> None:
    """Install Debian packages unless their programs are there.

    Parameters
    ----------
    programs : names looked for, on the PATH and among the daemons.
    packages : that hold them.

    Raises
    ------
    ProgramMissing
        If a program is missing and this user cannot install it, or the installation fails.
    """
    # two test processes that come here together must not both run apt
    with (Path(tempfile.gettempdir()) / f"ebsdsg-apt-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = _missing(programs)
        if not missing:
            return
        wanted = " ".join(packages)
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise ProgramMissing(
                f"these tests need {', '.join(missing)}; run as root: apt-get install {wanted}"
            )
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (
            ["apt-get", "update", "-qq"],
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
        ):
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=900, check=False
            )
            if done.returncode != 0:
                raise ProgramMissing(
                    f"{' '.join(command)} failed: {(done.stderr or done.stdout)[-2000:]}"
                )
        if missing := _missing(programs):
            raise ProgramMissing(f"{wanted} are installed, yet {', '.join(missing)} are missing")


def _missing(programs: Sequence[str]) -> list[str]:
    return [name for name in programs if shutil.which(name, path=PATH) is None]
