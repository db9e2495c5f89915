"""From data sets to adapted classifiers: one firework per seed, then their ensemble."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobflow import Flow, Maker

from ebsdsg_flows.jobs.adaptation import AdaptationMaker, EnsembleMaker


@dataclass
class AdaptationFlowMaker(Maker):
    """All runs of one plan, and their ensemble.

    Parameters
    ----------
    name : of the plan.
    plan : fields of :class:`ebsdsg_flows.adaptation_plan.AdaptationPlan`.
    """

    name: str = "adaptation"
    plan: dict[str, Any] = field(default_factory=dict)

    def make(
        self, datasets: Mapping[str, Any], start: Any = None, campaign: str | None = None
    ) -> Flow:
        """Join the runs; see :meth:`jobs`."""
        jobs = self.jobs(datasets, start, campaign)
        return Flow(jobs, output=jobs[-1].output, name=f"adaptation {self.name}")

    def jobs(
        self, datasets: Mapping[str, Any], start: Any = None, campaign: str | None = None
    ) -> list[Any]:
        """The runs, and after them their ensemble.

        Parameters
        ----------
        datasets : name to key of a data set, or to the job output that will be it.
        start : key of the training run to start from, or the output that will be it.
        campaign : name of the campaign that the results belong to.
        """
        from ebsdsg_flows.adaptation_plan import AdaptationPlan

        plan = AdaptationPlan.model_validate(self.plan).resolved(datasets, Path())
        sources = [datasets[source] for source in plan.sources]
        target = datasets.get(plan.target, plan.target)
        first = plan.settings["seed"]
        runs = []
        for seed in range(first, first + plan.seeds):
            maker = AdaptationMaker(
                name=f"adapt {self.name} seed {seed}",
                adaptation={**plan.settings, "seed": seed},
                validation_fold=plan.validation_fold,
            )
            runs.append(maker.make(sources, target, start if plan.start else None, campaign))
        ensemble = EnsembleMaker(name=f"ensemble {self.name}", title=self.name).make(
            [run.output for run in runs], target, campaign
        )
        return [*runs, ensemble]
