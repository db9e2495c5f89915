"""From master patterns to a classifier: data sets, one training per fold, evaluation, report."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jobflow import Flow, Maker

from ebsdsg_flows.jobs.learning import DatasetMaker, EvaluationMaker, TrainingMaker
from ebsdsg_flows.jobs.reports import ReportMaker


@dataclass
class LearningFlowMaker(Maker):
    """Cross-validation on every data set, then the final model, then the report.

    Parameters
    ----------
    name : of the flow.
    recipes : data-set name to recipe, fields of :class:`ebsdsg_ml.recipe.DatasetRecipe`.
    training : fields of :class:`ebsdsg_ml.protocol.TrainingConfig`.
    final_model : data set on which, all folds together, the final model is trained.
    """

    name: str = "learning"
    recipes: dict[str, dict[str, Any]] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    final_model: str | None = None

    def make(self, simulations: list[str], campaign: str) -> Flow:
        """Join the stations.

        Parameters
        ----------
        simulations : keys of the completed simulations to learn from.
        campaign : name of the campaign that the results belong to.
        """
        from ebsdsg_ml.recipe import DatasetRecipe

        jobs: list[Any] = []
        evaluations: dict[str, Any] = {}
        for name, recipe in self.recipes.items():
            dataset = DatasetMaker(name=f"data set {name}", recipe=recipe).make(
                simulations, campaign
            )
            jobs.append(dataset)
            folds = []
            for fold in range(DatasetRecipe.from_dict(recipe).n_folds):
                maker = TrainingMaker(name=f"train {name} fold {fold}", training=self.training)
                folds.append(maker.make(dataset.output, fold, campaign))
            evaluation = EvaluationMaker(name=f"evaluate {name}").make(
                dataset.output, [fold.output for fold in folds], campaign
            )
            jobs += [*folds, evaluation]
            evaluations[name] = evaluation.output
            if name == self.final_model:
                maker = TrainingMaker(name=f"train {name} final", training=self.training)
                final = maker.make(dataset.output, None, campaign)
                jobs.append(final)
                evaluations["final model"] = final.output
        report = ReportMaker().make(campaign, evaluations)
        return Flow([*jobs, report], output=report.output, name=f"{self.name} {campaign}")
