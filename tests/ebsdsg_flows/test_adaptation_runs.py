"""Adaptation as jobs: a firework for every seed, an ensemble, each made once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from striped_patterns import SIZE, striped_dataset

from ebsdsg_flows.adaptation import adapt_classifier, make_ensemble
from ebsdsg_flows.adaptation_plan import AdaptationPlan
from ebsdsg_flows.campaign import CampaignError, load_campaign
from ebsdsg_flows.datasets import MissingPattern
from ebsdsg_flows.flows.adaptation import AdaptationFlowMaker
from ebsdsg_flows.flows.learning import LearningFlowMaker
from ebsdsg_flows.learning import train_classifier
from ebsdsg_flows.run import run_until_idle
from ebsdsg_flows.workflows import add_workflows, to_workflow
from ebsdsg_ml.ensemble import EnsembleError
from stores.collections import Stores
from stores.documents import DatasetDocument, EnsembleDocument, TrainingRunDocument

SETTINGS: dict[str, Any] = {
    "model": "mobilenet_v3_small",
    "epochs": 2,
    "steps_per_epoch": 2,
    "batch_size": 8,
    "threads": 1,
}


@pytest.fixture
def dataset(stores: Stores, root: Path) -> DatasetDocument:
    return striped_dataset(stores, root)


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """Patterns without labels."""
    path = tmp_path / "pool.npy"
    np.save(path, np.random.default_rng(0).integers(0, 255, (20, SIZE, SIZE), np.uint8))
    return path


@pytest.mark.slow
def test_every_seed_is_a_firework_and_they_become_an_ensemble(
    stores: Stores, root: Path, dataset: DatasetDocument
) -> None:
    plan = {
        "sources": ["striped"],
        "target": "striped",
        "seeds": 2,
        "validation_fold": 0,
        "settings": {**SETTINGS, "method": "mcd", "criterion": "source_validation", "seed": 5},
    }
    flow = AdaptationFlowMaker(name="mcd", plan=plan).make({"striped": dataset.key})
    workflow = to_workflow(flow, {})
    names = sorted(firework.name for firework in workflow.fws)
    assert names == ["adapt mcd seed 5", "adapt mcd seed 6", "ensemble mcd"]
    add_workflows(stores.launchpad(strm_lvl="ERROR"), [workflow])
    assert run_until_idle(stores, workers=1, quiet=True).failed == 0

    runs = [TrainingRunDocument.from_mongo(run) for run in stores.training_runs.find({})]
    assert sorted(run.seeds["training"] for run in runs) == [5, 6]
    for run in runs:
        assert run.state == "completed" and run.adaptation is not None
        assert run.adaptation.method == "mcd" and run.adaptation.sources == [dataset.key]
        assert run.fold == 0 and [row["epoch"] for row in run.epochs] == [1, 2]
        assert {"loss_discrepancy", "bnm", "source_validation"} <= set(run.epochs[0])
        # the truth is known here; it was written down
        assert run.adaptation.target_accuracy == pytest.approx(
            run.epochs[run.computed_with["best_epoch"] - 1]["watch_accuracy"]
        )
        assert (root / run.checkpoint.path).is_file()  # type: ignore[union-attr]
        assert [point.epoch for point in run.checkpoints] == [1, 2]
        assert [picture.epoch for picture in run.images] == [1, 2]
        assert all((root / picture.path).is_file() for picture in run.images)
    found = stores.ensembles.find_one({})
    assert found is not None
    ensemble = EnsembleDocument.from_mongo(found)
    assert ensemble.members == sorted(run.key for run in runs)
    assert ensemble.summary["all"]["interval"]["n"] == 2

    # again: nothing is computed, nothing is doubled
    again = adapt_classifier(
        stores, [dataset.key], dataset.key, {**plan["settings"], "seed": 6}, validation_fold=0
    )
    assert again.key in ensemble.members and stores.training_runs.count_documents({}) == 2
    assert make_ensemble(stores, ensemble.members, dataset.key).key == ensemble.key
    assert stores.ensembles.count_documents({}) == 1


@pytest.mark.slow
def test_a_file_without_labels_and_a_trained_model_to_start_from(
    stores: Stores, dataset: DatasetDocument, pool: Path
) -> None:
    training = {"model": "mobilenet_v3_small", "epochs": 1, "batch_size": 8, "threads": 1}
    start = train_classifier(stores, dataset, None, training)
    run = adapt_classifier(
        stores,
        [dataset.key],
        str(pool),
        {**SETTINGS, "method": "self-training"},
        start=start.key,
    )
    assert run.parent == start.key and run.adaptation is not None
    assert run.adaptation.target_accuracy is None and run.adaptation.n_target == 20
    why = "the accuracy on the target is not known: the file holds patterns alone"
    assert run.adaptation.remarks == [why]
    assert sum(run.computed_with["target_prior"]) == pytest.approx(1)
    assert run.weights == f"model sha256 {start.computed_with['weights_sha256']}"
    ensemble = make_ensemble(stores, [run.key, start.key], str(pool))
    assert "accuracies" not in ensemble.summary and ensemble.n_patterns == 20
    assert ensemble.summary["remarks"] == [why]


def test_what_is_not_there_is_said(stores: Stores, dataset: DatasetDocument, pool: Path) -> None:
    with pytest.raises(MissingPattern, match="neither a data set's key nor an existing path"):
        adapt_classifier(stores, [dataset.key], "nowhere.npy", {})
    with pytest.raises(MissingPattern, match="training run none has no model"):
        adapt_classifier(stores, [dataset.key], str(pool), {}, start="none")
    with pytest.raises(EnsembleError, match="at least one run"):
        make_ensemble(stores, [], str(pool))
    assert stores.training_runs.count_documents({}) == 0


def test_plans_are_checked_when_the_campaign_is_read() -> None:
    plan = AdaptationPlan(sources=("a",), target="b", settings={"method": "mcc"})
    assert plan.settings["confusion_temperature"] == 2.5
    plan.check("mcc", ["a", "b"], None)
    with pytest.raises(ValueError, match=r"adaptation\.mcc: source 'a' is not one of .*\(b\)"):
        plan.check("mcc", ["b"], None)
    with pytest.raises(ValueError, match="start needs a final_model"):
        plan.model_copy(update={"start": True}).check("mcc", ["a"], None)
    leaking = plan.model_copy(update={"start": True, "validation_fold": 0})
    with pytest.raises(ValueError, match=r"trained on all folds.* leave validation_fold out"):
        leaking.check("mcc", ["a"], "a")
    with pytest.raises(ValueError, match="is not a name"):
        plan.check("m c c", ["a"], None)
    with pytest.raises(ValueError, match="'final' is what the final models' ensemble"):
        plan.check("final", ["a"], None)
    with pytest.raises(ValidationError, match="unknown adaptation setting lr"):
        AdaptationPlan(sources=("a",), target="b", settings={"lr": 1})


CAMPAIGN = """
name: adapted
structures: {source: demo}
datasets:
  relabelled: {label: relabelled, size: 32, n_folds: 2}
training: {seed: 3}
final_model: relabelled
final_seeds: 2
adaptation:
  mcd: {sources: [relabelled], target: pool.npy, seeds: 2, start: true, settings: {method: mcd}}
"""


def test_a_campaign_names_what_is_adapted_to_what(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(CAMPAIGN)
    campaign = load_campaign(path)
    assert campaign.adaptation["mcd"].target == str(tmp_path / "pool.npy")
    flow = LearningFlowMaker(
        recipes=campaign.datasets,
        training=campaign.training,
        final_model=campaign.final_model,
        final_seeds=campaign.final_seeds,
        adaptation=campaign.model_dump(mode="json")["adaptation"],
    ).make({"": ["simulation"]}, "adapted")
    fireworks = {firework.name: firework for firework in to_workflow(flow, {}).fws}
    assert set(fireworks) == {
        "data set relabelled",
        "train relabelled fold 0",
        "train relabelled fold 1",
        "evaluate relabelled",
        "train relabelled final seed 3",
        "train relabelled final seed 4",
        "calibrate relabelled final seed 3",
        "calibrate relabelled final seed 4",
        "ensemble relabelled",
        "adapt mcd seed 0",
        "adapt mcd seed 1",
        "ensemble mcd",
        "report",
    }
    path.write_text(CAMPAIGN.replace("sources: [relabelled]", "sources: [other]"))
    with pytest.raises(CampaignError, match=r"adaptation\.mcd: source 'other' is not one of"):
        load_campaign(path)
    path.write_text(CAMPAIGN.replace("method: mcd", "method: dann"))
    with pytest.raises(CampaignError, match="method = 'dann': must be one of"):
        load_campaign(path)
