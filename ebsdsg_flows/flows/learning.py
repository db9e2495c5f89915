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
    recipes : data-set name to recipe, fields of :class:`ebsdsg_ml.recipe.DatasetRecipe`; beside
        them ``variant`` names the simulations it is made of, and ``train: false`` leaves it at the
        data set.
    training : fields of :class:`ebsdsg_ml.protocol.TrainingConfig`.
    final_model : data set on which, all folds together, the final model is trained.
    spec : entries of the spec of every firework, such as ``_category``.
    """

    name: str = "learning"
    recipes: dict[str, dict[str, Any]] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    final_model: str | None = None
    spec: dict[str, Any] = field(default_factory=dict)

    def make(self, simulations: dict[str, list[str]], campaign: str) -> Flow:
        """Join the stations.

        Parameters
        ----------
        simulations : variant (empty for none) to the keys of the completed simulations to learn
            from.  A data set of a variant without any is left out.
        campaign : name of the campaign that the results belong to.
        """
        from ebsdsg_ml.recipe import DatasetRecipe

        jobs: list[Any] = []
        evaluations: dict[str, Any] = {}
        for name, given in self.recipes.items():
            keys = simulations.get(given.get("variant", ""), [])
            if not keys:
                continue
            recipe = {key: given[key] for key in given if key not in ("variant", "train")}
            dataset = DatasetMaker(name=f"data set {name}", recipe=recipe).make(keys, campaign)
            jobs.append(dataset)
            if not given.get("train", True):
                evaluations[f"data set {name}"] = dataset.output
                continue
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
        for part in (*jobs, report):
            part.config.manager_config = dict(self.spec)
        return Flow([*jobs, report], output=report.output, name=f"{self.name} {campaign}")
