"""Running one program that cannot be trusted to end, to listen, or to say what happened.

The program gets a process group of its own below a :mod:`.guardian`, which ends the group when this
worker dies.  Its output goes to a file that is read while it grows.  It is ended when its time is
over, when it uses no processor time any more, or when the worker is asked to leave: first SIGTERM,
then, for those that ignore it, SIGKILL, and never is anything of the group left.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ebsdsg_flows.leaving import asked_to_leave, noticing_sigterm

POLL_SECONDS = 0.1
GUARDIAN = Path(__file__).with_name("guardian.py")
Reason = Literal["exited", "walltime", "stalled", "asked to leave"]


@dataclass(frozen=True)
class Limits:
    """When a program is ended.

    Parameters
    ----------
    walltime : after so long [s].
    stall : when it used no processor time and said nothing for so long [s].
    grace : between SIGTERM and SIGKILL [s].
    """

    walltime: float
    stall: float = 1800.0
    grace: float = 20.0


@dataclass(frozen=True)
class Ended:
    """How a program ended.

    Parameters
    ----------
    reason : why; ``exited`` if it ended by itself.
    exit_code : negative for a signal.
    output : what it printed, both streams; bytes that are not UTF-8 are replaced.
    wall_seconds, cpu_seconds : what it took.
    killed : whether it ignored SIGTERM.
    """

    reason: Reason
    exit_code: int
    output: str
    wall_seconds: float
    cpu_seconds: float
    killed: bool = False

    @property
    def tail(self) -> str:
        """Last lines of the output."""
        return self.output[-4000:]


def run_program(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    log: Path,
    limits: Limits,
    on_line: Callable[[str], None] = lambda line: None,
    on_poll: Callable[[], None] = lambda: None,
    before_end: Callable[[Reason], None] = lambda reason: None,
) -> Ended:
    """Run a program to its end, whatever that is.

    Parameters
    ----------
    command : program and arguments.
    folder, environment : current directory and complete environment of the program.
    log : file for its output.
    limits : when to end it.
    on_line : called with every line of output, soon after it appears.  If it raises, the program
        is ended and the exception goes on.
    on_poll : called several times a second, to the same effect.
    before_end : called with the reason before a program is ended from here.

    Returns
    -------
    How it ended; nothing of its process group is left.
    """
    reading, holding = os.pipe()
    arguments = [str(reading), f"{limits.grace:g}", *command]
    begun = time.monotonic()
    with noticing_sigterm(), log.open("wb") as output:
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(GUARDIAN), *arguments],
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(reading,),
            )
        finally:
            os.close(reading)
        group = _Group(process, limits.grace)
        lines = _Lines(log, on_line)
        try:
            reason = _watch(group, lines, limits, begun, on_poll)
            if reason != "exited":
                before_end(reason)
        except BaseException:
            lines.close()
            raise
        finally:
            killed = group.end()
            os.close(holding)
        lines.finish()
    return Ended(
        reason=reason,
        exit_code=process.returncode,
        output=_text(log.read_bytes()),
        wall_seconds=time.monotonic() - begun,
        cpu_seconds=group.cpu_seconds,
        killed=killed,
    )


def _watch(
    group: _Group, lines: _Lines, limits: Limits, begun: float, on_poll: Callable[[], None]
) -> Reason:
    """Wait until the program ends, or until there is a reason to end it."""
    alive_at = begun
    looked_at = begun
    ticks = -1
    while not group.ended():
        if lines.read():
            alive_at = time.monotonic()
        on_poll()
        if asked_to_leave():
            return "asked to leave"
        now = time.monotonic()
        if now - begun > limits.walltime:
            return "walltime"
        if now - looked_at > min(10.0, limits.stall / 5):
            looked_at = now
            if (used := group.ticks()) != ticks:
                ticks = used
                alive_at = now
            elif now - alive_at > limits.stall:
                return "stalled"
        time.sleep(POLL_SECONDS)
    return "exited"


class _Group:
    """The process group of a guardian."""

    def __init__(self, leader: subprocess.Popen[bytes], grace: float) -> None:
        self._leader = leader
        self._grace = grace
        self._ticks = 0
        self.cpu_seconds = 0.0

    def ended(self) -> bool:
        """Whether the guardian, and with it the program, has ended; it stays to be waited for."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._leader.pid, flags) is not None

    def ticks(self) -> int:
        """Processor time of the group without its guardian, in the kernel's ticks."""
        total = 0
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == self._leader.pid:
                continue
            with suppress(OSError, ValueError, IndexError):
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                if int(fields[2]) == self._leader.pid:
                    total += sum(int(value) for value in fields[11:15])
        self._ticks = max(self._ticks, total)
        return total

    def end(self) -> bool:
        """End what is left of the group and wait for it; whether SIGTERM was not enough."""
        before = _children_seconds()
        self.ticks()
        killed = False
        if not self.ended():
            self._signal(signal.SIGTERM)
            patience = time.monotonic() + self._grace
            while not self.ended() and time.monotonic() < patience:
                time.sleep(0.02)
            killed = not self.ended()
        # the guardian is not waited for yet, so the number of the group is still its own
        self._signal(signal.SIGKILL)
        self._leader.wait()
        patience = time.monotonic() + self._grace
        while self._exists() and time.monotonic() < patience:
            self._signal(signal.SIGKILL)
            time.sleep(0.02)
        # a guardian that was killed did not wait for its program, whose time is then missing
        seen = self._ticks / os.sysconf("SC_CLK_TCK")
        self.cpu_seconds = max(seen, _children_seconds() - before)
        return killed

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._leader.pid, number)

    def _exists(self) -> bool:
        try:
            os.killpg(self._leader.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


class _Lines:
    """A growing file, line by line."""

    def __init__(self, path: Path, on_line: Callable[[str], None]) -> None:
        self._file = path.open("rb")
        self._on_line = on_line
        self._rest = b""

    def read(self) -> bool:
        """Hand on the lines that are new and whole; whether there was anything new."""
        new = self._file.read()
        *lines, self._rest = (self._rest + new).split(b"\n")
        for line in lines:
            self._on_line(_text(line))
        return bool(new)

    def finish(self) -> None:
        """Hand on the rest."""
        self.read()
        if self._rest:
            self._on_line(_text(self._rest))
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _text(output: bytes) -> str:
    return output.decode("utf-8", "replace").replace("\x00", "")


def _children_seconds() -> float:
    times = os.times()
    return times.children_user + times.children_system
