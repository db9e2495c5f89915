"""Driving EMmkxtal, the one EMsoft program that asks its questions at a terminal.

Each answer (:mod:`.crystal_file`) is given on a pseudo-terminal when exactly its question is asked,
what the program repeats is compared with what was said, and no wait is longer than its time-out:
every failure shows the screen as it was.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ebsdsg_flows.engines.emsoft.crystal_file import PROMPTS, WYCKOFF, Step
from ebsdsg_flows.engines.emsoft.failures import (
    CRYSTAL_DIFFERS,
    CRYSTAL_REJECTED,
    DIALOGUE_STUCK,
    MISSING_PROGRAM,
    recognise,
)

if TYPE_CHECKING:
    from ebsdsg_flows.engines.base import EngineFailure

TIMEOUT = 60.0
"""Longest wait for the next question [s]."""


def converse(
    command: Sequence[str],
    steps: Sequence[Step],
    *,
    environment: Mapping[str, str],
    folder: Path,
    timeout: float = TIMEOUT,
) -> str:
    """Give the answers to the program, each when it is asked for.

    Parameters
    ----------
    command : program and arguments.
    steps : the dialogue.
    environment : complete environment of the program.
    folder : current directory of the program.
    timeout : longest wait for the next question [s].

    Returns
    -------
    The screen.

    Raises
    ------
    EngineFailure
        If the program cannot be started, asks something else, repeats other numbers, stops early,
        waits for ever, or ends without success.
    """
    import pexpect

    screen = _Screen()
    try:
        child = pexpect.spawn(
            command[0],
            list(command[1:]),
            env=dict(environment),
            cwd=str(folder),
            echo=False,
            encoding="utf-8",
            codec_errors="replace",
            timeout=timeout,
            dimensions=(100, 1000),
        )
    except pexpect.ExceptionPexpect as error:
        raise MISSING_PROGRAM.failure(f"{command[0]}: {str(error).splitlines()[0]}") from None
    child.logfile_read = screen
    child.delaybeforesend = None
    texts = [*PROMPTS, *WYCKOFF]
    patterns = [*texts, pexpect.EOF, pexpect.TIMEOUT]
    try:
        last: Step | None = None
        for step in steps:
            found = child.expect_exact(patterns)
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
        if child.expect_exact([pexpect.EOF, pexpect.TIMEOUT]) == 1:
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
