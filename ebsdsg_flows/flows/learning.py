"""From master patterns to a classifier: data sets, one training per fold, evaluation, report."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jobflow import Flow, Maker

from ebsdsg_flows.adaptation_plan import FINAL
from ebsdsg_flows.flows.adaptation import AdaptationFlowMaker
from ebsdsg_flows.jobs.adaptation import EnsembleMaker
from ebsdsg_flows.jobs.learning import (
    CalibrationMaker,
    DatasetMaker,
    EvaluationMaker,
    TrainingMaker,
)
from ebsdsg_flows.jobs.reports import ReportMaker


@dataclass
class LearningFlowMaker(Maker):
    """Cross-validation on every data set, final models, adaptations, and then the report.

    Parameters
    ----------
    name : of the flow.
    recipes : data-set name to recipe, fields of :class:`ebsdsg_ml.recipe.DatasetRecipe`.
    training : fields of :class:`ebsdsg_ml.protocol.TrainingConfig`.
    final_model : data set on which, all folds together, the final model is trained.
    final_seeds : number of final models; several become an ensemble.
    adaptation : name to plan, fields of :class:`ebsdsg_flows.adaptation_plan.AdaptationPlan`.
    spec : entries of the spec of every firework, such as ``_category``.
    """

    name: str = "learning"
    recipes: dict[str, dict[str, Any]] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    final_model: str | None = None
    final_seeds: int = 1
    adaptation: dict[str, dict[str, Any]] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)

    def make(self, simulations: dict[str, list[str]], campaign: str) -> Flow:
        """Join the stations.

        Parameters
        ----------
        simulations : variant (empty for none) to the keys of the completed simulations to learn
            from.  A recipe that tells sets by Debye-Waller factors gets those of all variants.
        campaign : name of the campaign that the results belong to.
        """
        from ebsdsg_ml.recipe import DatasetRecipe

        jobs: list[Any] = []
        evaluations: dict[str, Any] = {}
        datasets: dict[str, Any] = {}
        start: Any = None
        usual = simulations[""]
        every = sorted({key for keys in simulations.values() for key in keys})
        for name, recipe in self.recipes.items():
            keys = every if recipe.get("debye_waller") else usual
            dataset = DatasetMaker(name=f"data set {name}", recipe=recipe).make(keys, campaign)
            jobs.append(dataset)
            datasets[name] = dataset.output
            folds = []
            for fold in range(DatasetRecipe.from_dict(recipe).n_folds):
                maker = TrainingMaker(name=f"train {name} fold {fold}", training=self.training)
                folds.append(maker.make(dataset.output, fold, campaign))
            evaluation = EvaluationMaker(name=f"evaluate {name}", title=name).make(
                dataset.output, [fold.output for fold in folds], campaign
            )
            jobs += [*folds, evaluation]
            evaluations[name] = evaluation.output
            if name == self.final_model:
                finals = self._final_models(name, dataset.output, evaluation.output, campaign)
                jobs += finals
                start = finals[1].output
                evaluations["final model"] = finals[-1].output
        for name, plan in self.adaptation.items():
            adaptation = AdaptationFlowMaker(name=name, plan=plan).jobs(datasets, start, campaign)
            jobs += adaptation
            evaluations[f"adaptation {name}"] = adaptation[-1].output
        report = ReportMaker().make(campaign, evaluations)
        for part in (*jobs, report):
            part.config.manager_config = dict(self.spec)
        return Flow([*jobs, report], output=report.output, name=f"{self.name} {campaign}")

    def _final_models(self, name: str, dataset: Any, evaluation: Any, campaign: str) -> list[Any]:
        """For each seed a training on all folds, then its calibration; of several the ensemble."""
        from ebsdsg_ml.protocol import TrainingConfig

        first = TrainingConfig.from_dict(self.training).seed
        finals: list[Any] = []
        for seed in range(first, first + self.final_seeds):
            title = f"train {name} final" + (f" seed {seed}" if self.final_seeds > 1 else "")
            maker = TrainingMaker(name=title, training={**self.training, "seed": seed})
            final = maker.make(dataset, None, campaign)
            calibration = CalibrationMaker(name=title.replace("train", "calibrate", 1))
            finals += [final, calibration.make(final.output, evaluation)]
        if self.final_seeds > 1:
            ensemble = EnsembleMaker(name=f"ensemble {name}", title=FINAL)
            runs = [calibrated.output for calibrated in finals[1::2]]
            finals.append(ensemble.make(runs, dataset, campaign))
        return finals
