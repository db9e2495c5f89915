"""What a check found, and the checks run side by side, each with a time limit."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ebsdsg_flows.settings import Settings

TIMEOUT = 30.0


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Parameters
    ----------
    check : name of the check.
    verdict : ``ok``; ``absent`` for what is not set up and need not be; ``warning``; ``fault`` for
        what keeps work from being done.
    what : what was found, for a person.
    mend : what to do about it.
    """

    check: str
    verdict: Literal["ok", "absent", "warning", "fault"]
    what: str
    mend: str = ""

    def __str__(self) -> str:
        line = f"{self.verdict:8}{self.check:19}{self.what}"
        return f"{line}\n{'':27}→ {self.mend}" if self.mend else line

    def to_dict(self) -> dict[str, str]:
        """Plain values."""
        return asdict(self)


Check = Callable[["Settings"], Iterable[Finding]]


def examine(
    settings: Settings, checks: Sequence[tuple[str, Check]], timeout: float = TIMEOUT
) -> list[Finding]:
    """Run checks side by side.

    Parameters
    ----------
    settings : of this machine.
    checks : name and function of each.
    timeout : seconds that all of them together may take.

    Returns
    -------
    Findings in the order of the checks.  A check that breaks or hangs is itself a finding.
    """
    from stores.redact import redact

    answers: queue.Queue[tuple[int, list[Finding]]] = queue.Queue()

    def run(number: int, name: str, check: Check) -> None:
        try:
            found = list(check(settings))
        except Exception as error:
            reason = f"{type(error).__name__}: {redact(error)}"
            found = [Finding(name, "fault", f"the check itself failed: {reason}")]
        answers.put((number, found))

    for number, (name, check) in enumerate(checks):
        # daemons, so that one that hangs does not keep the program from ending
        threading.Thread(target=run, args=(number, name, check), daemon=True).start()
    until = time.monotonic() + timeout
    found: dict[int, list[Finding]] = {}
    while len(found) < len(checks):
        try:
            number, findings = answers.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            break
        found[number] = findings
    for number, (name, _) in enumerate(checks):
        silent = Finding(name, "fault", f"no answer within {timeout:g} s", "try again; is it hung?")
        found.setdefault(number, [silent])
    return [finding for number in sorted(found) for finding in found[number]]
