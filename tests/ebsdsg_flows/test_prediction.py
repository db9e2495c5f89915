"""From training in the database to calibrated answers for files, by run, ensemble and path."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from striped_patterns import striped_dataset
from typer.testing import CliRunner

from ebsdsg_flows.cli import app
from ebsdsg_flows.evaluation import calibrate_final
from ebsdsg_flows.flows.learning import LearningFlowMaker
from ebsdsg_flows.jobs.learning import EvaluationMaker
from ebsdsg_flows.learning import train_classifier
from ebsdsg_flows.prediction import ModelNotFound, _print_answers, find_model
from ebsdsg_flows.results import campaign_results, dataset_title
from ebsdsg_ml.analysis.confusion import confusion_table
from ebsdsg_ml.analysis.phases import light_element_statistics, phase_table
from ebsdsg_ml.analysis.runs import run_table
from ebsdsg_ml.calibration import Calibration
from ebsdsg_ml.ensemble_model import EnsembleModel, load_model
from ebsdsg_ml.pattern_model import PatternModel
from ebsdsg_ml.predict import Prediction, Predictions
from stores.collections import Stores
from stores.documents import CampaignDocument, EnsembleDocument, TrainingRunDocument

TRAINING: dict[str, Any] = {
    "model": "mobilenet_v3_small",
    "epochs": 1,
    "batch_size": 12,
    "threads": 1,
}


def evaluated_by_a_campaign(stores: Stores, dataset: str, runs: list[str]) -> dict[str, Any]:
    """Evaluate as a campaign does that has two data sets of the same kind of groups."""
    stores.save(
        CampaignDocument(key="two", name="two", query={}, parameters={}, config_hash="0" * 64)
    )
    recipe = {"label": "relabelled", "n_folds": 2}
    flow = LearningFlowMaker(recipes={"one": recipe, "other": recipe}).make({"": []}, "two")
    results = {
        job.maker.title: job.maker.make.original(job.maker, dataset, runs, "two")
        for job in flow.jobs
        if isinstance(job.maker, EvaluationMaker)
    }
    kept = campaign_results(stores, "two")
    assert kept.evaluations == results and set(results) == {"one", "other"}
    assert {found["key"] for found in kept.datasets.values()} == {dataset}
    assert dataset_title("one", results["one"]["label"]) == "one (relabelled groups)"

    # a workflow of an earlier version, whose jobs know no name, keeps it as that did
    earlier = EvaluationMaker.from_dict({"@module": "", "@class": "", "name": "evaluation"})
    earlier.make.original(earlier, dataset, runs, "two")
    assert set(campaign_results(stores, "two").evaluations) == {"one", "other", "relabelled"}
    return results["one"]


def test_folds_judge_each_other_and_calibrate_the_final_model(
    stores: Stores, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = striped_dataset(stores, root)
    runs = [train_classifier(stores, dataset, fold, TRAINING) for fold in (0, 1)]
    for run in runs:
        own = Calibration.from_dict(run.calibration["model"])
        assert run.checkpoint is not None
        assert load_model(root / run.checkpoint.path).card.calibration == own
        assert own.fitted_on == f"phases of fold {run.fold}, held out of the training"
        assert (own.n_phases, own.n_patterns) == (2, 12)
        # two phases are too few for 90 %: the set is everything, no certainty is enough
        assert own.set_threshold == 1.0 and own.answer_threshold == 1.0
    result = evaluated_by_a_campaign(stores, dataset.key, [run.key for run in runs])
    tables = result["calibration"]
    assert tables["sets"]["coverage"] == pytest.approx(1) and tables["answered"] == 0
    assert tables["after"]["log_loss"] > 0 and len(tables["before"]["reliability"]) >= 1
    evaluated = [stores.get(TrainingRunDocument, run.key) for run in runs]
    assert evaluated[0] is not None and evaluated[1] is not None
    # fold 0 is judged by what was fitted on fold 1, and the other way round
    assert evaluated[0].calibration["evaluation"]["fitted_on"] == "held-out answers of folds 1"
    first, second = (e.calibration for e in evaluated if e is not None)
    assert first["evaluation"]["temperature"] == pytest.approx(
        second["model"]["temperature"], rel=1e-3
    )

    final = train_classifier(stores, dataset, None, TRAINING)
    assert final.calibration == {}
    calibrated = calibrate_final(stores, final.key, [run.key for run in runs])
    assert calibrated.calibration["model"]["n_phases"] == 4
    assert calibrated.checkpoint is not None and final.checkpoint is not None
    model = load_model(root / calibrated.checkpoint.path)
    assert model.card.calibration is not None
    assert calibrate_final(stores, final.key, [run.key for run in runs]) == calibrated
    before = load_model(root / final.checkpoint.path)
    patterns = np.zeros((1, 24, 24), np.uint8)
    assert (model.logits(patterns) == before.logits(patterns)).all()

    # the analyses on documents of real runs
    documents = list(stores.training_runs.find({"key": {"$in": [run.key for run in runs]}}))
    assert [row["n"] for row in phase_table(documents)] == [6] * 4
    assert light_element_statistics([])[0]["phases"] == 0
    confusion = confusion_table(documents[0]["confusion"]["validation"], normalised=True)
    assert [row["total"] for row in confusion] == [6, 6]
    assert run_table(documents[:1])[0]["accuracy"] == pytest.approx(documents[0]["accuracy"])

    members = sorted([calibrated.key, runs[0].key])
    ensemble = EnsembleDocument.from_mongo(
        {
            "key": EnsembleDocument.key_of(members, "0" * 64),
            "members": members,
            "labels": "relabelled",
            "classes": [225, 229],
            "target": "0" * 64,
            "n_patterns": 1,
            "summary": {},
        }
    )
    stores.save(ensemble)
    assert isinstance(find_model(ensemble.key[:12]), EnsembleModel)
    collapsed = ensemble.model_copy(update={"collapsed": members})
    stores.save(collapsed)
    with pytest.raises(ModelNotFound, match=f"all 2 members of .* collapsed.*{members[0][:8]}"):
        find_model(ensemble.key)
    stores.save(ensemble)
    with pytest.raises(ModelNotFound, match="no file, campaign, training run or ensemble"):
        find_model("nothing")

    campaign = CampaignDocument(
        key="little",
        name="little",
        query={},
        parameters={"final_seeds": 1},
        training_runs=[run.key for run in runs],
    )
    stores.save(campaign)
    with pytest.raises(ModelNotFound, match="campaign little has no finished final model"):
        find_model("little")
    stores.save(campaign.model_copy(update={"training_runs": [*campaign.training_runs, final.key]}))
    named = find_model("little")
    assert isinstance(named, PatternModel)
    assert named.weights_sha256() == load_model(root / final.checkpoint.path).weights_sha256()
    # two are wanted: one of an earlier learning, from another data set, does not stand in
    earlier = {"key": "e" * 64, "dataset": "0" * 64, "created": final.created - timedelta(days=1)}
    stores.save(final.model_copy(update=earlier))
    two = {"parameters": {"final_seeds": 2}, "training_runs": [final.key, "e" * 64]}
    stores.save(campaign.model_copy(update=two))
    assert isinstance(find_model("little"), PatternModel)
    with pytest.raises(ModelNotFound, match=r"no model file at .*none\.pt"):
        find_model(str(tmp_path / "none.pt"))

    call = CliRunner().invoke
    carried = tmp_path / "carried.pt"
    assert call(app, ["model", "export", ensemble.key, str(carried)]).exit_code == 0
    image = np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8)
    (tmp_path / "scan").mkdir()
    Image.fromarray(image).save(tmp_path / "scan" / "a.png")
    table = tmp_path / "answers.csv"
    arguments = ["predict", str(tmp_path / "scan"), "-m", str(carried), "-o", str(table)]
    done = call(app, [*arguments, "--picture", str(tmp_path / "a.png")])
    assert done.exit_code == 0 and table.read_text().count("\n") == 2
    assert (tmp_path / "a.png").stat().st_size > 1000
    (tmp_path / "empty").mkdir()
    for nothing in ("empty", "missing"):
        done = call(app, ["predict", str(tmp_path / nothing), *arguments[2:]])
        assert done.exit_code == 1 and "nothing was written" in done.stderr
        assert table.read_text().count("\n") == 2  # the earlier answers are still there
    # refused before the model is looked for
    odd = [*arguments[:2], "-m", "nothing", "--picture", str(tmp_path / "a.xyz")]
    assert "answers are drawn as .png" in str(call(app, odd).exception)
    (tmp_path / "scan" / "b.png").write_text("no image")
    done = call(app, [*arguments[:2], "-m", calibrated.key[:8], "-o", str(table)])
    assert done.exit_code == 1 and "b.png is not a readable image" in done.stderr
    assert "a.png" in table.read_text()
    # four phases are too few for anything that is promised, and the table says so
    printed = " ".join(done.stdout.split())
    assert (
        "4 phases are too few for a risk of 5% (19 are needed): every pattern abstains" in printed
    )
    assert "sets of 90% (9 are needed)" in printed and "abstain" in table.read_text()

    file = str(root / dataset.file.path)
    out = str(tmp_path / "again.pt")
    refused = call(app, ["model", "calibrate", final.key, out, "--dataset", file])
    assert isinstance(refused.exception, ModelNotFound)
    arguments = ["model", "calibrate", runs[1].key, out, "--dataset", file, "--fold", "1"]
    done = call(app, arguments)
    assert done.exit_code == 0 and "2 phases are too few for a risk of 5%" in done.stdout
    known = load_model(out).card.calibration
    assert known is not None and known.n_phases == 2
    shown = call(app, ["model", "show", out])
    assert '"coverage": 0.9' in shown.stdout and '"phases"' not in shown.stdout
    assert json.loads(shown.stdout)["limits"] == known.limits() != []
    assert json.loads(shown.stdout)["detector"]["distance"] == 19100.0
    wrong = call(app, [*arguments, "--risk", "1"])
    assert "risk = 1.0: a probability between 0 and 1" in str(wrong.exception)
    modest = ["--coverage", "0.625", "--risk", "0.4", "--false-alarms", "0.4"]
    done = call(app, [*arguments, *modest])
    assert done.exit_code == 0 and "too few" not in done.stdout
    known = load_model(out).card.calibration
    assert known is not None
    assert (known.coverage, known.risk, known.false_alarms) == (0.625, 0.4, 0.4)
    assert json.loads(call(app, ["model", "show", out]).stdout)["limits"] == []
    answered = call(app, ["predict", str(tmp_path / "scan" / "a.png"), "-m", out]).stdout
    assert "with probability 62.5% where" in " ".join(answered.split())
    assert "too few" not in answered


@pytest.mark.parametrize("columns", [40, 66, 80, 160])
def test_no_terminal_is_too_narrow_for_the_answer(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shares = {221: 0.01, 223: 0.01, 225: 0.91, 227: 0.05, 229: 0.02}
    answer = Prediction(
        path=Path("x"), name="experiment_17.png", patterns=9, probabilities=shares,
        in_set=(225, 227, 229), verdict="abstain", unknown_score=0.0, image_quality=0.45,
        confusable=(221, 229), pattern=np.zeros((4, 4), np.uint8),
    )  # fmt: skip
    card = SimpleNamespace(calibration=None, label="relabelled", model="resnet18")
    model: Any = SimpleNamespace(card=card, classes=tuple(shares))
    monkeypatch.setenv("COLUMNS", str(columns))
    _print_answers(model, Predictions([answer], []))
    shown = capsys.readouterr().out
    assert "…" not in shown
    for word in ("225", "0.91", "227", "abstain", "0.45"):
        assert word in shown
