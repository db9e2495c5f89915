"""The stations of adaptation: one run for each seed, and the ensemble of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jobflow import Maker, job


@dataclass
class AdaptationMaker(Maker):
    """Adapt one classifier.

    Parameters
    ----------
    name : of the job.
    adaptation : fields of :class:`ebsdsg_ml.adaptation.AdaptationConfig`.
    validation_fold : fold of the sources held out for the criterion ``"source_validation"``.
    """

    name: str = "adaptation"
    adaptation: dict[str, Any] = field(default_factory=dict)
    validation_fold: int | None = None

    @job
    def make(
        self,
        sources: list[str],
        target: str,
        start: str | None = None,
        campaign: str | None = None,
    ) -> str:
        """Adapt, continue or return what was adapted.

        Parameters
        ----------
        sources : keys of labelled data sets.
        target : key of the data set, or path, of the patterns without labels.
        start : key of a training run to start from.
        campaign : name of the campaign that it belongs to.

        Returns
        -------
        Key of the training run's document.
        """
        from ebsdsg_flows.adaptation import adapt_classifier
        from ebsdsg_flows.session import open_stores

        stores = open_stores()
        run = adapt_classifier(
            stores,
            sources,
            target,
            self.adaptation,
            start=start,
            validation_fold=self.validation_fold,
        )
        if campaign is not None:
            stores.campaigns.update_one(
                {"key": campaign}, {"$addToSet": {"training_runs": run.key}}
            )
        return run.key


@dataclass
class EnsembleMaker(Maker):
    """Put runs together: votes, mean, interval, collapsed runs.

    Parameters
    ----------
    name : of the job.
    title : under which the campaign's document gets the result.
    """

    name: str = "ensemble"
    title: str = "ensemble"

    @job
    def make(self, runs: list[str], target: str, campaign: str | None = None) -> str:
        """Let the runs answer for one pool.

        Parameters
        ----------
        runs : keys of finished runs.
        target : key of the data set, or path, of the pool.
        campaign : name of the campaign whose document gets the summary.

        Returns
        -------
        Key of the ensemble's document.
        """
        from ebsdsg_flows.adaptation import make_ensemble
        from ebsdsg_flows.session import open_stores

        stores = open_stores()
        ensemble = make_ensemble(stores, runs, target)
        if campaign is not None:
            result = {"ensemble": ensemble.key, **ensemble.summary}
            stores.campaigns.update_one(
                {"key": campaign}, {"$set": {f"progress.ensembles.{self.title}": result}}
            )
        return ensemble.key
