"""Progress of an import: a bar for the lists, a bar for the entries, and what is waited for."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from ebsdsg_flows.progress import bars

if TYPE_CHECKING:
    from rich.progress import TaskID


class ImportDisplay:
    """Bars on stderr.

    Parameters
    ----------
    quiet : draw nothing; what is waited for is then not said either.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._progress = bars(10, quiet=quiet)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._tasks:
            self._progress.stop()

    def show(self, bar: str, done: int, total: int | None = None, now: str = "") -> None:
        """Set a bar, which appears when it is first set."""
        if not self._tasks:
            # not before: bars that never come would leave an empty line
            self._progress.start()
        if bar not in self._tasks:
            self._tasks[bar] = self._progress.add_task(bar, total=None, now="")
        self._progress.update(self._tasks[bar], completed=done, total=total, now=now)

    def say(self, message: str) -> None:
        """Write a line above the bars."""
        if not self._quiet:
            self._progress.console.print(message, markup=False, highlight=False)
