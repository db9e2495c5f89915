"""How far EMEBSDmaster is, from what it prints."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

BIN = re.compile(r"energy bin \(in reverse order\)\s+(\d+) of\s+\d+; energy \[keV\] =\s*([\d.]+)")
STRONG = re.compile(r"Average number of strong reflections =\s+(\d+)")
STORED = re.compile(r"(?:Intermediate|Final) data stored in file")


class MasterProgress:
    """Energies done and time left, fed with the program's lines.

    EMEBSDmaster goes from the highest bin to the first and numbers the bins absolutely, also after
    a restart; an energy counts as done when the program has stored it.

    Parameters
    ----------
    n_energies : number of energy bins.
    done : energies that were finished before this run.
    clock : seconds; for tests.

    Attributes
    ----------
    energies_done : finished energies, those of earlier runs included.
    seconds_left : estimate from the last energy; ``None`` before the first.
    beams : energy [keV] to average number of strong beams.
    """

    def __init__(
        self, n_energies: int, done: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.energies_done = done
        self.seconds_left: float | None = None
        self.beams: dict[float, float] = {}
        self._n = n_energies
        self._clock = clock
        self._bin: int | None = None
        self._energy = 0.0
        self._begun = clock()

    def feed(self, line: str) -> bool:
        """Take one line; whether an energy was finished by it."""
        if found := BIN.search(line):
            self._bin, self._energy = int(found[1]), float(found[2])
            self._begun = self._clock()
        elif (found := STRONG.search(line)) and self._bin is not None:
            self.beams[self._energy] = float(found[1])
        elif STORED.search(line) and self._bin is not None:
            self.energies_done = max(self.energies_done, self._n - self._bin + 1)
            self.seconds_left = (self._clock() - self._begun) * (self._n - self.energies_done)
            return True
        return False


def beams_in(log: str) -> dict[float, float]:
    """Energy [keV] to average number of strong beams, from a whole log."""
    progress = MasterProgress(0)
    for line in log.splitlines():
        progress.feed(line)
    return progress.beams
