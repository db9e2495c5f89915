"""Driving EMmkxtal, the one EMsoft program that asks its questions at a terminal.

Each answer (:mod:`.crystal_file`) is given on a pseudo-terminal when exactly its question is asked,
what the program repeats is compared with what was said, and no wait is longer than its time-out:
every failure shows the screen as it was.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.engines.emsoft.crystal_file import PROMPTS, WYCKOFF, Step
from ebsdsg_flows.engines.emsoft.failures import (
    CRYSTAL_DIFFERS,
    CRYSTAL_REJECTED,
    DIALOGUE_STUCK,
    MISSING_PROGRAM,
    QUEUE_ENDED,
    recognise,
)
from ebsdsg_flows.engines.emsoft.outcome import check_version, ended_by_signal
from ebsdsg_flows.leaving import asked_to_leave, noticing_sigterm

if TYPE_CHECKING:
    import pexpect

    from ebsdsg_flows.engines.base import EngineFailure

TIMEOUT = 60.0
"""Longest wait for the next question [s]."""
POLL_SECONDS = 0.5
"""How often a wait is interrupted to see whether this worker was asked to leave."""


def converse(
    command: Sequence[str],
    steps: Sequence[Step],
    *,
    environment: Mapping[str, str],
    folder: Path,
    timeout: float = TIMEOUT,
    before_end: Callable[[], None] = lambda: None,
) -> str:
    """Give the answers to the program, each when it is asked for.

    Parameters
    ----------
    command : program and arguments.
    steps : the dialogue.
    environment : complete environment of the program.
    folder : current directory of the program.
    timeout : longest wait for the next question [s].
    before_end : called before the program is ended because this worker was asked to leave.

    Returns
    -------
    The screen.

    Raises
    ------
    EngineFailure
        If the program cannot be started, is not of EMsoft 5.0, asks something else, repeats other
        numbers, stops early, waits for ever, ends without success, or this worker is asked to
        leave.
    """
    with noticing_sigterm():
        return _converse(command, steps, environment, folder, timeout, before_end)


def _converse(
    command: Sequence[str],
    steps: Sequence[Step],
    environment: Mapping[str, str],
    folder: Path,
    timeout: float,
    before_end: Callable[[], None],
) -> str:
    import pexpect

    screen = _Screen()
    program, *arguments = command
    try:
        child = pexpect.spawn(
            program if arguments else _as_one_word(program),
            arguments,
            env=dict(environment),
            cwd=str(folder),
            echo=False,
            encoding="utf-8",
            codec_errors="replace",
            timeout=timeout,
            dimensions=(100, 1000),
        )
    except (pexpect.ExceptionPexpect, OSError) as error:
        raise MISSING_PROGRAM.failure(f"{program}: {str(error).splitlines()[0]}") from None
    child.logfile_read = screen
    child.delaybeforesend = None
    texts = [*PROMPTS, *WYCKOFF]
    patterns = [*texts, pexpect.EOF, pexpect.TIMEOUT]
    try:
        last: Step | None = None
        for step in steps:
            found = _wait(child, patterns, timeout, screen, before_end)
            check_version("EMmkxtal", screen.text)
            before = str(child.before)
            if found == len(texts):
                raise _ended_early(child, screen, f"it ended instead of asking “{step.prompt}”")
            if found > len(texts):
                raise DIALOGUE_STUCK.failure(
                    f"no question for {timeout:g} s while “{step.prompt}” was expected"
                    f"{_after(last)}; the screen ends with: {screen.end()}",
                    log_tail=screen.tail(),
                )
            if texts[found] != step.prompt:
                raise CRYSTAL_REJECTED.failure(
                    f"it asks “{texts[found]}” where “{step.prompt}” was expected"
                    f"{_after(last)}; the screen ends with: {screen.end()}",
                    log_tail=screen.tail(),
                )
            if last is not None and last.echo:
                _check_echo(last, before, screen)
            child.sendline(step.answer)
            last = step
        if _wait(child, [pexpect.EOF, pexpect.TIMEOUT], timeout, screen, before_end) == 1:
            raise DIALOGUE_STUCK.failure(
                f"it did not end within {timeout:g} s{_after(last)}; the screen ends with: "
                f"{screen.end()}",
                log_tail=screen.tail(),
            )
        child.wait()
        if child.signalstatus or child.exitstatus or "Source =" not in screen.text:
            raise _ended_early(child, screen, "it did not end well")
        return screen.text
    finally:
        child.close(force=True)


def _wait(
    child: pexpect.spawn[str],
    patterns: list[Any],
    timeout: float,
    screen: _Screen,
    before_end: Callable[[], None],
) -> int:
    """Which of the patterns comes first, the last of which is the time-out."""
    until = time.monotonic() + timeout
    while True:
        left = max(0.0, until - time.monotonic())
        found = int(child.expect_exact(patterns, timeout=min(POLL_SECONDS, left)))
        if asked_to_leave():
            before_end()
            raise QUEUE_ENDED.failure("EMmkxtal was ended", log_tail=screen.tail())
        if found < len(patterns) - 1 or left <= POLL_SECONDS:
            return found


def _as_one_word(program: str) -> str:
    """A program's name that pexpect, given no arguments, does not take for a command line."""
    return re.sub(r"""([\s'"\\])""", r"\\\1", program)


def _check_echo(step: Step, shown: str, screen: _Screen) -> None:
    """Compare the numbers of a site with those the program repeats, seven decimals."""
    number = r"\s+(-?\d+\.\d+|\*+)"
    found = re.search(r"->" + number * len(step.echo), shown)
    repeated = [math.nan] * len(step.echo)
    if found is not None:
        repeated = [math.nan if "*" in text else float(text) for text in found.groups()]
    if any(not abs(a - b) <= 2e-6 for a, b in zip(step.echo, repeated, strict=True)):
        seen = found.group().strip() if found else "nothing"
        raise CRYSTAL_DIFFERS.failure(
            f"EMmkxtal was told {step.answer} and understood {seen}", log_tail=screen.tail()
        )


def _ended_early(child: object, screen: _Screen, what: str) -> EngineFailure:
    """What to raise when the program ended although the dialogue was not over, or badly."""
    child.close(force=True)  # type: ignore[attr-defined]
    status = getattr(child, "exitstatus", None)
    signal = getattr(child, "signalstatus", None)
    code = -signal if signal else status
    tail = screen.tail()
    if found := recognise(screen.text):
        kind, line = found
        return kind.failure(f"EMmkxtal: {line}", log_tail=tail, exit_code=code)
    if signal:
        return ended_by_signal("EMmkxtal", -signal, tail)
    return CRYSTAL_REJECTED.failure(
        f"{what} (exit code {code}); the screen ends with: {screen.end()}",
        log_tail=tail,
        exit_code=code,
    )


def _after(step: Step | None) -> str:
    return f" after the answer {step.answer}" if step is not None else ""


class _Screen:
    """Everything the program showed."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        """Nothing is held back."""

    def tail(self) -> str:
        return self.text[-4000:]

    def end(self) -> str:
        lines = [" ".join(line.split()) for line in self.text.splitlines()]
        return " | ".join([line for line in lines if line][-3:])[-300:]
