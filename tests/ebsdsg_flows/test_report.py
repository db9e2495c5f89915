"""Report and figures of a campaign and of a run, from documents and answers that are there."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import shutil
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from debian_packages import require
from playwright.sync_api import sync_playwright
from plotly.offline import get_plotlyjs
from striped_patterns import striped_dataset

from ebsdsg_flows.figures.collect import figures_of
from ebsdsg_flows.figures.subject import UnknownSubject
from ebsdsg_flows.report import write_report
from stores.collections import Stores
from stores.documents import (
    CampaignDocument,
    FileReference,
    PredictionDocument,
    TrainingRunDocument,
)
from stores.states import State

AXE = Path(__file__).parent / "web" / "axe" / "axe.min.js"
CALIBRATION = {"temperature": 2.0, "coverage": 0.9, "set_threshold": 0.6}
HOSTILE = "<script>alert('x')</script>"


@pytest.fixture
def campaign(stores: Stores, root: Path) -> dict[str, Any]:
    """A campaign with two folds, each answered; a quarter of the answers is wrong."""
    dataset = striped_dataset(stores, root)
    runs = []
    for fold in range(2):
        key = f"{fold}fold-run"
        members = [m for m in dataset.members if m.fold == fold]
        rows = np.arange(24).reshape(4, 6)[fold::2].ravel()
        truth = np.repeat([0, 1], 6)
        predicted = np.where(np.arange(12) % 4 == 0, 1 - truth, truth)
        logits = np.where(np.arange(2) == predicted[:, None], 2.0, 0.0).astype(np.float32)
        buffer = io.BytesIO()
        np.savez(buffer, rows=rows, truth=truth, phase=rows // 6, logits=logits)
        path = root / "predictions" / f"{fold}.npz"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(buffer.getvalue())
        confusion = [[4, 2], [1, 5]] if predicted[:6].sum() == 2 else [[5, 1], [2, 4]]
        stores.save(
            PredictionDocument(
                key=PredictionDocument.key_of(key, dataset.key),
                training_run=key,
                patterns=dataset.key,
                n_patterns=12,
                file=FileReference(
                    path=f"predictions/{fold}.npz", bytes=path.stat().st_size, sha256="0" * 64
                ),
                summary={
                    "accuracy": {"value": 0.75, "low": 0.4, "high": 0.9, "right": 9, "total": 12},
                    "confusion": confusion,
                    "by_class": [{"class": 225}, {"class": 229}],
                },
            )
        )
        stores.save(
            TrainingRunDocument(
                key=key,
                config={"model": "resnet18", "epochs": 1},
                dataset=dataset.key,
                labels="relabelled",
                fold=fold,
                state=State.COMPLETED,
                accuracy=0.75,
                calibration={"evaluation": CALIBRATION},
                epochs=[{"epoch": 1, "train_loss": 1.0, "train_accuracy": 0.5}],
                per_phase=[
                    {"material_id": m.material_id, "formula": "X", "label": m.relabelled,
                     "n": 6, "accuracy": 0.5, "most_frequent": 229}
                    for m in members
                ],
            )
        )  # fmt: skip
        runs.append(key)
    by_phase = [
        {"phase": m.material_id, "class": m.relabelled, "value": right / 6, "low": 0.2, "high": 1,
         "right": right, "total": 6, "most_frequent": 229, "formula": "X"}
        for m, right in zip(dataset.members, (6, 3, 6, 3), strict=True)
    ]  # fmt: skip
    document = CampaignDocument(
        key="little",
        name="little",
        query={"source": "demo", "description": HOSTILE},
        parameters={"datasets": {"relabelled": {"size": 24}}, "training": {"model": "resnet18"}},
        config_hash="1" * 64,
        datasets=[dataset.key],
        training_runs=runs,
        progress={
            "evaluations": {
                "relabelled": {
                    "classes": [225, 229],
                    "confusion": [[9, 3], [3, 9]],
                    "accuracy": {"value": 0.75, "low": 0.5, "high": 0.9, "right": 18, "total": 24},
                    "by_phase": by_phase,
                    "runs": runs,
                    "dataset": dataset.key,
                }
            }
        },
    )
    stores.save(document)
    return document.model_dump(mode="json")


def drawn(path: Path) -> dict[str, Any]:
    """Figures of a report, unpacked as its script does."""
    packed = re.search(r'id="figures">([^<]*)<', path.read_text())
    assert packed is not None
    return json.loads(gzip.decompress(base64.b64decode(packed[1])))


def test_a_campaign_and_a_run_are_reported(
    stores: Stores, campaign: dict[str, Any], tmp_path: Path
) -> None:
    path = write_report(stores, "little", tmp_path / "report")
    text = path.read_text()
    assert path.stat().st_size < 1_000_000 and [p.name for p in path.parent.iterdir()] == [
        path.name
    ]
    assert "http://" not in text and "https://" not in text
    assert HOSTILE not in text and "&lt;script&gt;alert" in text
    assert "75.0 %" in text and "50.0 to 100.0 %" in text and "1" * 64 in text
    found = drawn(path)
    assert set(found["figures"]) == {
        "workflow", "confusion_relabelled", "subgroups_relabelled", "phases_relabelled",
        "reliability_relabelled", "set_size_relabelled", "quality_relabelled",
        "candidates_relabelled", "training",
    }  # fmt: skip
    assert found["figures"]["confusion_relabelled"]["data"][0]["z"] == [[75, 25], [25, 75]]
    assert all("template" not in figure["layout"] for figure in found["figures"].values())
    (trained,) = [t for t in found["figures"]["workflow"]["data"] if t["name"] == "completed"]
    assert [2, "training runs"] in trained["customdata"]
    # certainty 0.73 = 1 / (1 + exp(-2 / 2)), right in three of four
    _, before, after = found["figures"]["reliability_relabelled"]["data"]
    assert after["x"] == [pytest.approx(100 / (1 + np.exp(-1)))] and before["x"][0] > after["x"][0]
    assert after["y"] == [75]

    run = write_report(stores, "0fold", tmp_path / "run")
    assert "Training run relabelled, fold 0" in run.read_text()
    assert "not known" in run.read_text()  # of one phase in each group
    assert "candidates" in drawn(run)["figures"] and "workflow" not in drawn(run)["figures"]
    with pytest.raises(UnknownSubject, match=r"is called 'other'; campaigns: little"):
        figures_of(stores, "other")


def test_data_sets_of_the_same_groups_stand_side_by_side(
    stores: Stores, campaign: dict[str, Any], tmp_path: Path
) -> None:
    kept = campaign["progress"]["evaluations"]["relabelled"]
    second = {**kept, "label": "relabelled", "accuracy": {**kept["accuracy"], "value": 0.625}}
    stores.campaigns.update_one({"key": "little"}, {"$set": {"progress.evaluations.large": second}})
    path = write_report(stores, "little", tmp_path / "report")
    text = path.read_text()
    assert ">relabelled groups, all folds<" in text  # of a document of an earlier version
    assert ">large (relabelled groups), all folds<" in text and "62.5 %" in text
    assert "Patterns of the data set, large (relabelled groups)" in text
    assert "Confusion matrix, large (relabelled groups)" in text
    assert {"confusion_relabelled", "confusion_large"} <= set(drawn(path)["figures"])


def test_the_command_writes_every_figure(
    ebsdsg: Callable[..., CompletedProcess[str]], campaign: dict[str, Any], tmp_path: Path
) -> None:
    done = ebsdsg("figures", "1fold", "-o", "out", "--format", "json", "--dark")
    assert done.returncode == 0, done.stderr
    written = {path.stem for path in (tmp_path / "out").iterdir()}
    assert {"confusion", "subgroups", "phases", "reliability", "quality", "training"} <= written
    assert len(done.stdout.split()) == len(written)
    figure = json.loads((tmp_path / "out" / "confusion.json").read_text())
    assert figure["layout"]["title"]["text"] == "Confusion matrix"
    refused = ebsdsg("figures", "none", "-o", "out")
    assert refused.returncode == 1 and "no campaign and no training run" in refused.stderr


def test_the_packed_library_is_that_of_the_installed_plotly() -> None:
    packed = resources.files("ebsdsg_flows").joinpath("static", "plotly-cartesian.min.js.gz")
    version = re.compile(r"plotly\.js (?:\(cartesian - minified\) )?v(\S+)")
    ours = version.search(gzip.decompress(packed.read_bytes()).decode()[:500])
    theirs = version.search(get_plotlyjs()[:500])
    assert ours is not None and theirs is not None and ours[1] == theirs[1]


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_a_browser_draws_it_without_a_network(
    stores: Stores, campaign: dict[str, Any], tmp_path: Path, scheme: str, width: int
) -> None:
    require(["chromium"], ["chromium"])
    path = write_report(stores, "little", tmp_path / "report")
    wrong: list[str] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        context = browser.new_context(
            color_scheme=scheme, viewport={"width": width, "height": 844}, offline=True
        )
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
        page.goto(path.as_uri())
        page.wait_for_function("document.documentElement.dataset.drawn")
        assert page.locator(".plot .main-svg").count() >= len(drawn(path)["figures"])
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        back = page.evaluate(
            "getComputedStyle(document.querySelector('.plot .main-svg')).backgroundColor"
        )
        assert back == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(18, 23, 29)")
        page.evaluate(AXE.read_text())
        passed, violations = page.evaluate(
            "async () => { const f = await axe.run(); return [f.passes.length, f.violations.map("
            "v => `${v.impact} ${v.id}: ` + v.nodes.map(n => n.target).join())]; }"
        )
        browser.close()
    assert passed > 10, "axe did not look at the page"
    assert violations == [] and wrong == []
