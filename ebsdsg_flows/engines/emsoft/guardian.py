"""Parent of a supervised program: ends the whole process group when the worker is gone.

Run as ``python -I -S guardian.py FD GRACE PROGRAM ARGUMENT...`` at the head of a new session.  FD
is the reading end of a pipe whose other end only the worker holds: end of file there means that
the worker died, however that happened.  It imports nothing that takes time, and ends as the program
ended, by the same exit code or signal.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import time
from types import FrameType


def _nothing(number: int, frame: FrameType | None) -> None:
    """Be woken; unlike an ignored signal, this is not inherited by the program."""


def main() -> None:
    """Start the program and wait for its end, or for the worker's."""
    worker, grace, command = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, _nothing)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    program = os.fork()
    if program == 0:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.set_inheritable(worker, False)
        try:
            os.execvp(command[0], command)
        except OSError as error:
            os.write(2, f"cannot run {command[0]}: {error.strerror}\n".encode())
            os._exit(127)
    while True:
        ready, _, _ = select.select([worker, woken], [], [])
        if woken in ready:
            os.read(woken, 100)
        ended, status = os.waitpid(program, os.WNOHANG)
        if ended:
            _end_like(status)
        if worker in ready and not os.read(worker, 100):
            _end_group(program, grace)


def _end_group(program: int, grace: float) -> None:
    """The worker is gone: end everything, at last also this process."""
    os.killpg(0, signal.SIGTERM)
    patience = time.monotonic() + grace
    while time.monotonic() < patience:
        if os.waitpid(program, os.WNOHANG)[0]:
            break
        time.sleep(0.05)
    os.killpg(0, signal.SIGKILL)


def _end_like(status: int) -> None:
    """Leave with the program's exit code, or die of its signal."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.pause()
    os._exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
