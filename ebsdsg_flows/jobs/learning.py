"""The stations of learning: data set, training run, what the folds say together, calibration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jobflow import Maker, job


@dataclass
class DatasetMaker(Maker):
    """Build a leak-free data set from simulations.

    Parameters
    ----------
    name : of the job.
    recipe : fields of :class:`ebsdsg_ml.recipe.DatasetRecipe`.
    """

    name: str = "data set"
    recipe: dict[str, Any] = field(default_factory=dict)

    @job
    def make(self, simulations: list[str], campaign: str | None = None) -> str:
        """Build it, unless it exists.

        Parameters
        ----------
        simulations : keys of completed simulations.
        campaign : name of the campaign that it belongs to.

        Returns
        -------
        Key of the data set's document.
        """
        from ebsdsg_flows.datasets import make_dataset
        from ebsdsg_flows.session import open_stores

        stores = open_stores()
        dataset = make_dataset(stores, self.recipe, simulations)
        if campaign is not None:
            stores.campaigns.update_one({"key": campaign}, {"$addToSet": {"datasets": dataset.key}})
        return dataset.key


@dataclass
class TrainingMaker(Maker):
    """Train one classifier.

    Parameters
    ----------
    name : of the job.
    training : fields of :class:`ebsdsg_ml.protocol.TrainingConfig`.
    """

    name: str = "training"
    training: dict[str, Any] = field(default_factory=dict)

    @job
    def make(self, dataset: str, fold: int | None, campaign: str | None = None) -> str:
        """Train, continue or return what was trained.

        Parameters
        ----------
        dataset : key of the data set.
        fold : left out; ``None`` trains on all.
        campaign : name of the campaign that it belongs to.

        Returns
        -------
        Key of the training run's document.
        """
        from ebsdsg_flows.datasets import get_dataset
        from ebsdsg_flows.learning import train_classifier
        from ebsdsg_flows.session import open_stores

        stores = open_stores()
        run = train_classifier(stores, get_dataset(stores, dataset), fold, self.training)
        if campaign is not None:
            stores.campaigns.update_one(
                {"key": campaign}, {"$addToSet": {"training_runs": run.key}}
            )
        return run.key


@dataclass
class EvaluationMaker(Maker):
    """Put the held-out folds together: accuracy, confusion matrix, accuracy of every phase.

    Parameters
    ----------
    name : of the job.
    title : under which the campaign's document gets the result, the data set's name; jobs from
        before it was told have none, and take the kind of groups.
    """

    name: str = "evaluation"
    title: str = ""

    @job
    def make(self, dataset: str, runs: list[str], campaign: str | None = None) -> dict[str, Any]:
        """Evaluate every run on the fold that it did not see.

        Parameters
        ----------
        dataset : key of the data set.
        runs : keys of its training runs, one per fold.
        campaign : name of the campaign whose document gets the result.

        Returns
        -------
        Plain tables, see :func:`ebsdsg_flows.evaluation.evaluate_folds`.
        """
        from ebsdsg_flows.datasets import get_dataset
        from ebsdsg_flows.evaluation import evaluate_folds
        from ebsdsg_flows.session import open_stores

        stores = open_stores()
        found = get_dataset(stores, dataset)
        result = evaluate_folds(stores, found, runs)
        if campaign is not None:
            title = self.title or found.labels
            stores.campaigns.update_one(
                {"key": campaign}, {"$set": {f"progress.evaluations.{title}": result}}
            )
        return result


@dataclass
class CalibrationMaker(Maker):
    """Calibrate a model that was trained on all folds by what its folds' models answered."""

    name: str = "calibration"

    @job
    def make(self, final: str, evaluation: dict[str, Any]) -> str:
        """Calibrate it, unless it is.

        Parameters
        ----------
        final : key of the training run.
        evaluation : of :class:`EvaluationMaker`, for its runs.

        Returns
        -------
        Key of the training run.
        """
        from ebsdsg_flows.evaluation import calibrate_final
        from ebsdsg_flows.session import open_stores

        return calibrate_final(open_stores(), final, evaluation["runs"]).key
