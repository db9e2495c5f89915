"""What a campaign file says about the queue: resources of each stage, order, and how many at once.

FireWorks hands a job to a worker of its category, and in reservation mode tells the queue adapter
what it needs; both stand in the job's spec, where these sections put them.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A mapping of a campaign file: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


STAGES = ("structure", "monte_carlo", "master_pattern", "learning")
"""Stages that can be given resources: labels, Monte Carlo, master pattern, all of learning."""


class StageResources(Section):
    """What the jobs of one stage need, so that the right workers and queues take them.

    Parameters
    ----------
    category : FireWorks category; a worker with that category (or none) takes the jobs.
    walltime : of the queue's job, such as ``12:00:00``.
    nodes, ntasks, cpus_per_task, gres, queue, account : of the queue's job.
    qadapter : further entries of the queue adapter (``qos``, ``mem`` ...).
    """

    category: str | None = None
    walltime: str | None = Field(default=None, pattern=r"^(\d+-)?\d{1,3}:\d\d:\d\d$")
    nodes: int | None = Field(default=None, ge=1)
    ntasks: int | None = Field(default=None, ge=1)
    cpus_per_task: int | None = Field(default=None, ge=1)
    gres: str | None = None
    queue: str | None = None
    account: str | None = None
    qadapter: dict[str, Any] = Field(default_factory=dict)

    def spec(self) -> dict[str, Any]:
        """Entries of a firework's spec: ``_category`` and ``_queueadapter``."""
        given = self.model_dump(exclude={"category", "qadapter"}, exclude_none=True)
        queue = {**given, **self.qadapter}
        return {
            **({} if self.category is None else {"_category": self.category}),
            **({"_queueadapter": queue} if queue else {}),
        }


class QueuePlan(Section):
    """In which order the jobs come, and how many at once.

    Parameters
    ----------
    priority : of the campaign; jobs of a higher one are always taken first.
    order : ``smallest first`` by the volume of the given cell, or ``as given``.
    max_open : structures that are ready or running at once; the others are held back until one of
        these has ended. ``None`` holds none.
    """

    priority: int = Field(default=0, ge=-1000, le=1000)
    order: Literal["smallest first", "as given"] = "smallest first"
    max_open: int | None = Field(default=None, ge=1)

    def priority_of(self, volume: float) -> int:
        """Priority of a structure's jobs.

        Parameters
        ----------
        volume : of its cell as given [Å^3].

        Returns
        -------
        A thousand times the campaign's, plus 0 to 999 for cells of 999 Å^3 and more to none.
        """
        small = max(0, 999 - int(volume)) if self.order == "smallest first" else 0
        return 1000 * self.priority + small
