"""A Slurm of one node in a folder of its own: controller, node daemon and munge, on loopback.

Everything it opens (sockets, ports, state, logs) is private, so that several can run side by side.
Debian's packages ``slurm-wlm`` and ``munge`` are installed if they are missing; where that is not
possible the tests fail and say what to install.
"""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from debian_packages import PATH, require

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel")
PACKAGES = ("slurm-wlm", "munge")
START_SECONDS = 60.0


class SlurmBroken(RuntimeError):
    """Slurm does not come up, or a command of it failed."""


@dataclass
class Slurm:
    """One private Slurm.

    Parameters
    ----------
    folder : made if missing; everything is in it.
    cpus : that the node claims to have; so many one-processor jobs run at once.
    kill_wait : seconds between SIGTERM and SIGKILL.
    min_job_age : seconds after which an ended job is forgotten.
    """

    folder: Path
    cpus: int = 3
    kill_wait: int = 5
    min_job_age: int = 300
    daemons: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """Environment in which Slurm's commands talk to this one."""
        return {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": PATH}

    @property
    def node(self) -> str:
        """Name of its node."""
        return socket.gethostname().split(".")[0]

    def start(self) -> None:
        """Bring it up; the node is idle when this returns.

        Raises
        ------
        debian_packages.ProgramMissing, SlurmBroken
        """
        require(PROGRAMS, PACKAGES)
        for part in (".", "state", "spool"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)  # munge refuses a socket in a folder that others cannot enter
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        ports = _free_ports(2)
        values = {
            "HOST": self.node,
            "USER": getpass.getuser(),
            "FOLDER": self.folder,
            "SLURMCTLD_PORT": ports[0],
            "SLURMD_PORT": ports[1],
            "CPUS": self.cpus,
            "KILL_WAIT": self.kill_wait,
            "MIN_JOB_AGE": self.min_job_age,
        }
        text = (Path(__file__).parent / "slurm.conf").read_text(encoding="utf-8")
        for name, value in values.items():
            text = text.replace(f"@{name}@", str(value))
        (self.folder / "slurm.conf").write_text(text, encoding="utf-8")
        self._start_daemon(
            "munged",
            "--foreground",
            "--force",
            f"--socket={self.folder}/munge.socket",
            f"--key-file={key}",
            f"--pid-file={self.folder}/munged.pid",
            f"--log-file={self.folder}/munged.log",
            f"--seed-file={self.folder}/munged.seed",
        )
        self._until((self.folder / "munge.socket").exists, "munge opens its socket")
        self._start_daemon("slurmctld", "-D", "-c", "-f", f"{self.folder}/slurm.conf")
        self._start_daemon("slurmd", "-D", "-c", "-f", f"{self.folder}/slurm.conf", "-N", self.node)
        self._until(lambda: self.node_state().startswith("IDLE"), "the node is idle")

    def stop(self) -> None:
        """End all jobs and daemons; nothing of it is left running.

        Raises
        ------
        SlurmBroken
            If a process of it survives.
        """
        with suppress(SlurmBroken, subprocess.TimeoutExpired):
            self.call("scancel", "--user", getpass.getuser())
            self._until(lambda: not self.call("squeue", "-h", "-o", "%i").strip(), "no job", 20)
        for daemon in reversed(self.daemons):
            daemon.terminate()
        for daemon in reversed(self.daemons):
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self.daemons.clear()
        patience = time.monotonic() + 10
        while (left := self.processes()) and time.monotonic() < patience:
            time.sleep(0.2)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if left:
            raise SlurmBroken(f"processes {left} of {self.folder} were still there and were killed")

    def processes(self) -> list[int]:
        """Processes that belong to this Slurm: its daemons, and whatever its jobs started."""
        mark = f"SLURM_CONF={self.folder}/slurm.conf".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with suppress(OSError):
                    command = (entry / "cmdline").read_bytes()
                    environment = (entry / "environ").read_bytes().split(b"\0")
                    in_a_job = any(v.startswith(b"SLURM_JOB_ID=") for v in environment)
                    # the parent of a job's processes hides its command and environment
                    files = [str(link.readlink()) for link in (entry / "fd").iterdir()]
                    holds = any(name.startswith(f"{self.folder}/") for name in files)
                    ours = bytes(self.folder) in command or (mark in environment and in_a_job)
                    if ours or holds:
                        found.append(int(entry.name))
        return found

    def call(self, *command: str, timeout: float = 30) -> str:
        """Output of one of Slurm's commands.

        Raises
        ------
        SlurmBroken
            If it fails.
        """
        done = subprocess.run(
            command,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode != 0:
            raise SlurmBroken(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def node_state(self) -> str:
        """State of the node, ``IDLE`` for example; empty while the controller does not answer."""
        try:
            shown = self.call("scontrol", "--oneliner", "show", "node", self.node)
        except (SlurmBroken, subprocess.TimeoutExpired):
            return ""
        fields = dict(word.split("=", 1) for word in shown.split() if "=" in word)
        return fields.get("State", "")

    def set_node(self, state: str) -> None:
        """Drain the node, take it down or put it to work again."""
        self.call("scontrol", "update", f"NodeName={self.node}", f"State={state}", "Reason=test")

    def submit(self, script: str, *options: str) -> str:
        """Id of a batch job made of a shell script."""
        path = self.folder / f"job-{secrets.token_hex(4)}.sh"
        path.write_text(f"#!/bin/bash\n{script}\n", encoding="utf-8")
        output = f"--output={path}.out"
        return self.call("sbatch", "--parsable", output, *options, str(path)).strip()

    def job(self, number: str) -> dict[str, str]:
        """Fields of a job as ``scontrol`` tells them."""
        shown = self.call("scontrol", "--oneliner", "show", "job", number)
        return dict(word.split("=", 1) for word in shown.split() if "=" in word)

    def _start_daemon(self, program: str, *arguments: str) -> None:
        path = shutil.which(program, path=PATH)
        assert path is not None, "checked by install"
        with (self.folder / f"{program}.out").open("wb") as log:
            self.daemons.append(
                subprocess.Popen(
                    [path, *arguments],
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def _until(
        self, condition: Callable[[], bool], what: str, seconds: float = START_SECONDS
    ) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            ended = [daemon.args for daemon in self.daemons if daemon.poll() is not None]
            if ended or time.monotonic() > deadline:
                raise SlurmBroken(
                    f"waited for: {what}; ended: {ended}; the logs say:\n{self._log_tails()}"
                )
            time.sleep(0.1)

    def _log_tails(self) -> str:
        tails = []
        for log in sorted([*self.folder.glob("*.log"), *self.folder.glob("*d.out")]):
            lines = log.read_text(errors="replace").splitlines()[-8:]
            tails.append(f"== {log.name}\n" + "\n".join(lines))
        return "\n".join(tails)


def _free_ports(number: int) -> list[int]:
    """Ports of loopback that nobody listens on."""
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
