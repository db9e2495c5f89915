"""Progress bars, and those of a running campaign, read from the database."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from rich.progress import Progress

    from stores.collections import Stores


def bars(width: int, *, quiet: bool = False) -> Progress:
    """Bars on standard error whose tasks have a field ``now``: what is done at present.

    Parameters
    ----------
    width : of their names [characters].
    quiet : draw nothing.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    return Progress(
        TextColumn(f"{{task.description:{width}}}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[now]}", markup=False),
        console=Console(stderr=True),
        disable=quiet,
        refresh_per_second=4,
    )


class ProgressDisplay:
    """Two bars: master patterns and learning, with what runs at present.

    Parameters
    ----------
    stores : open database.
    quiet : draw nothing.
    """

    def __init__(self, stores: Stores, *, quiet: bool = False) -> None:
        self._stores = stores
        self._progress = bars(16, quiet=quiet)
        self._patterns = self._progress.add_task("master patterns", total=None, now="")
        self._learning = self._progress.add_task("learning", total=None, now="", visible=False)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def update(self) -> None:
        """Read the counts and draw."""
        workflows = self._stores.database["workflows"]
        members = {"metadata.member": {"$exists": True}}
        total = workflows.count_documents(members)
        done = workflows.count_documents({**members, "state": "COMPLETED"})
        self._progress.update(
            self._patterns, total=total or None, completed=done, now=self._simulations_running()
        )
        learning = list(
            workflows.find({"metadata.learning": {"$exists": True}}, {"nodes": 1, "fw_states": 1})
        )
        if learning:
            states = [state for flow in learning for state in flow["fw_states"].values()]
            self._progress.update(
                self._learning,
                visible=True,
                total=len(states),
                completed=states.count("COMPLETED"),
                now=self._trainings_running(),
            )

    def _simulations_running(self) -> str:
        parts = []
        for run in self._stores.runs.find({"state": "running"}, {"material_id": 1, "message": 1}):
            message: Any = run.get("message") or "starting"
            parts.append(f"{run.get('material_id')} {message}")
        return "; ".join(parts[:3])

    def _trainings_running(self) -> str:
        parts = []
        for run in self._stores.training_runs.find(
            {"state": "running"}, {"labels": 1, "fold": 1, "epochs": 1}
        ):
            fold = "all folds" if run["fold"] is None else f"fold {run['fold']}"
            parts.append(f"{run['labels']} {fold}: {len(run['epochs'])} epochs")
        return "; ".join(parts[:3])
