"""From a training run to its figures, from a cell of its confusion matrix to single patterns."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from web_campaign import structure
from web_training import MISTAKEN, training_run

from ebsdsg_ml.dataset_file import open_dataset
from stores.collections import Stores

Site = Callable[..., TestClient]


def figures(text: str) -> dict[str, dict]:
    """Figures of a page by their name, as the browser reads them."""
    found = re.findall(r'<script type="application/json" id="([^"]+)">(.*?)</script>', text)
    return {name: json.loads(content) for name, content in found}


def test_a_cell_leads_to_its_phases_and_patterns(site: Site, root: Path, dataset: str) -> None:
    client = site()
    text = client.get("/training/run-1").text
    cell = re.search(r'href="(/training/run-1/confusion\?true=225&amp;predicted=221)"', text)[1]
    text = client.get(cell.replace("&amp;", "&")).text
    assert f"<h2>{MISTAKEN} patterns</h2>" in text and "225 taken for 221" in text
    # all of them are of one phase, whose formula is nobody's markup
    assert "&lt;i&gt;Ni&lt;/i&gt;" in text and "mp-1" in text and "mp-2" not in text
    pictures = re.findall(rf'<img src="(/datasets/{dataset}/patterns/(\d+)\.png)"', text)
    assert len(pictures) == MISTAKEN
    with open_dataset(root / "datasets" / f"{dataset}.h5") as opened:
        for address, row in pictures:
            drawn = np.asarray(Image.open(io.BytesIO(client.get(address).content)))
            stored = np.asarray(opened.patterns[int(row)])
            assert (drawn[::6, ::6] == stored).all()  # every pixel enlarged six times
            assert opened.phases[int(opened.phase[int(row)])]["id"] == "mp-1"
    other = client.get("/training/run-1/confusion?true=225&predicted=221&phase=mp-2").text
    assert "<h2>0 patterns of mp-2</h2>" in other


def test_the_figures_of_a_run_hold_its_numbers(site: Site, stores: Stores, dataset: str) -> None:
    stores.save(structure("mp-1", "NaCl"))
    stores.structures.update_one(
        {"key": "mp-1"},
        {"$set": {"prototype": "AB_cF8_225_4_4", "composition": {"Na": 4, "Cl": 4}}},
    )
    phase = {"material_id": "mp-1", "formula": "NaCl", "label": 225, "n": 12, "accuracy": 0.75,
             "most_frequent": 225}  # fmt: skip
    calibration = {"temperature": 2.0, "coverage": 0.9, "set_threshold": 0.9}
    stores.training_runs.update_one(
        {"key": "run-1"},
        {"$set": {"per_phase": [phase], "calibration": {"evaluation": calibration}}},
    )
    client = site()
    page = client.get("/training/run-1").text
    assert 'hx-get="/training/run-1/figures"' in page
    found = figures(page + client.get("/training/run-1/figures").text)
    assert set(found) == {
        "figure-templates", "training-data", "subgroups-data", "reliability-data", "set_size-data",
        "phases-data", "elements_rock_salt-data",
    }  # fmt: skip
    assert [1, 0.5] in [trace["y"] for trace in found["training-data"]["data"]]
    told = json.dumps(found["subgroups-data"])
    assert f"100 % of {MISTAKEN}" in told  # all mistakes are along a step, from 225 to 221
    assert {trace["name"] for trace in found["reliability-data"]["data"]} >= {
        "as trained",
        "calibrated",
    }
    assert found["elements_rock_salt-data"]["data"][0]["x"] == [17 - 11]
    light, dark = (found["figure-templates"][k]["layout"] for k in ("light", "dark"))
    assert light["paper_bgcolor"] != dark["paper_bgcolor"]
    # made once, and again when the run changes
    stores.training_runs.update_one({"key": "run-1"}, {"$set": {"per_phase": []}})
    again = figures(client.get("/training/run-1/figures").text)
    assert set(again) == {"training-data", "subgroups-data", "reliability-data", "set_size-data"}


def test_runs_are_compared_side_by_side(site: Site, dataset: str) -> None:
    client = site()
    assert client.get("/training").text.count('name="run"') == 2
    text = client.get("/training/compare?run=run-1&run=run-2").text
    names = {trace["name"] for trace in figures(text)["training-data"]["data"]}
    told = " ".join(names)
    assert "true, fold 0 (run-1)" in told and "true, all folds, mcd (run-2)" in told
    assert client.get("/training/compare?run=run-1&run=none").status_code == 404
    for wrong in ("", "?" + "&".join(["run=run-1"] * 9)):
        answer = client.get(f"/training/compare{wrong}")
        assert answer.status_code == 422 and "Choose 1 to 8 runs" in answer.text
        assert '<a href="/training">Training</a></p>' in answer.text


def test_every_page_tells_the_accuracy_of_the_evaluation(
    site: Site, stores: Stores, dataset: str
) -> None:
    client = site()
    # 3 of 72 patterns are taken for another group; the run's own document says 75.0 %
    for path in ("/training", "/training/run-1", "/training/compare?run=run-1"):
        text = client.get(path).text
        assert "95.8 %" in text
        assert "75.0 %" not in text or path == "/training"  # run-2 has not been evaluated
    assert "96 % on held-out phases (run-1)" in client.get("/predict").text
    stores.predictions.delete_many({})
    for path in ("/training", "/training/run-1", "/training/compare?run=run-1"):
        assert "75.0 %" in client.get(path).text


def test_a_run_on_all_phases_promises_nothing_and_names_its_folds(
    site: Site, stores: Stores, dataset: str
) -> None:
    epochs = [{"epoch": e, "train_loss": 1.0, "train_accuracy": 0.5} for e in (1, 2)]
    stores.save(training_run("final", dataset, fold=None, accuracy=None, epochs=epochs))
    stores.save(training_run("run-3", dataset, fold=1, labels="relabelled"))
    client = site()
    text = client.get("/training/final").text
    assert "nothing was held out" in text and '<a href="/training/run-1">fold 0</a>.' in text
    assert "run-3" not in text and "run-2" not in text
    assert "on held-out phases" not in text and "There is none yet" not in text
    text = client.get("/training/final/figures").text
    assert "of what was held out" not in text
    legend = {trace["name"] for trace in figures(text)["training-data"]["data"]}
    assert "training" in legend and "held out" not in legend
    other = client.get("/training/run-1/figures").text
    assert "held out" in {trace["name"] for trace in figures(other)["training-data"]["data"]}
    assert "nothing was held out" not in client.get("/training/run-1").text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/training/none", 404),
        ("/training/%00", 404),
        ("/training/..%2f..%2fetc", 404),
        ("/training/none/figures", 404),
        ("/training/run-1/confusion", 422),
        ("/training/run-1/confusion?true=225&predicted=227", 404),
        ("/training/run-1/confusion?true=225&predicted=999", 422),
        ("/training/run-2/confusion?true=225&predicted=221", 404),
        ("/training/run-1/confusion?true=225&predicted=221&phase=" + "x" * 300, 422),
        ("/datasets/{dataset}/patterns/72.png", 404),
        ("/datasets/{dataset}/patterns/-1.png", 404),
        ("/datasets/{dataset}/patterns/x.png", 422),
        ("/datasets/{dataset}/patterns/99999999999999999999.png", 404),
        ("/datasets/" + "0" * 64 + "/patterns/0.png", 404),
        ("/datasets/..%2f..%2fetc/patterns/0.png", 404),
    ],
)
def test_malformed_addresses(site: Site, dataset: str, path: str, status: int) -> None:
    assert site().get(path.replace("{dataset}", dataset)).status_code == status


def test_files_outside_the_data_root_are_not_shown(
    site: Site, stores: Stores, root: Path, dataset: str
) -> None:
    file = root / "datasets" / f"{dataset}.h5"
    outside = root.parent / "outside.h5"
    file.rename(outside)
    file.symlink_to(outside)
    client = site()
    assert client.get(f"/datasets/{dataset}/patterns/0.png").status_code == 404
    assert client.get("/training/run-1/confusion?true=225&predicted=221").status_code == 404
    (root / "predictions" / "run-1.npz").unlink()
    assert client.get("/training/run-1").status_code == 200
    assert client.get("/training/run-1/figures").status_code == 200
