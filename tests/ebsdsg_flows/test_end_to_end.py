"""The main job in the small: structures in, classifier out, everything in the database, once."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from html import unescape
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from ebsdsg_flows.campaign import Campaign, load_campaign
from ebsdsg_flows.report import QUERIES
from ebsdsg_flows.results import campaign_results
from ebsdsg_flows.run import run_until_idle
from ebsdsg_flows.status import parse_query
from ebsdsg_flows.story import structure_story
from ebsdsg_flows.submit import plan, submit
from ebsdsg_flows.web.access import Access
from ebsdsg_flows.web.app import create_app
from stores.collections import Stores

CAMPAIGN = """
name: little
structures: {{source: demo, materials: {materials}}}
simulation:
  parameters: {{npx: {npx}, dmin: 0.1, energy_step: 10.0, n_electrons: 20000, mc_pixels: 51}}
datasets:
  relabelled:
    {{label: relabelled, classes: [225, 229], patterns_per_class: 12, size: 32, n_folds: 2}}
training: {{epochs: {epochs}, batch_size: 8, threads: 1}}
final_model: relabelled
"""


def little(tmp_path: Path, materials: list[str], npx: int = 6, epochs: int = 1) -> Campaign:
    path = tmp_path / "little.yaml"
    path.write_text(CAMPAIGN.format(materials=materials, npx=npx, epochs=epochs))
    return load_campaign(path)


@pytest.fixture(scope="module")
def materials() -> list[str]:
    """Two elements of the packaged set in each of two relabelled groups."""
    from ebsdsg_flows.campaign import StructureQuery
    from ebsdsg_flows.sources import read_sources
    from ebsdsg_flows.structures import structure_document

    chosen: dict[int, list[str]] = {225: [], 229: []}
    items, _ = read_sources(StructureQuery(source="demo"))
    for item in items:
        if len(item.structure.composition.elements) > 1:
            continue
        group = structure_document(item.structure, item.material_id).relabel.number
        if group in chosen and len(chosen[group]) < 2:
            chosen[group].append(item.material_id)
    assert all(len(ids) == 2 for ids in chosen.values())
    return [identifier for ids in chosen.values() for identifier in ids]


@pytest.mark.slow
def test_structures_in_classifier_out_and_nothing_twice(
    stores: Stores, root: Path, tmp_path: Path, materials: list[str]
) -> None:
    campaign = little(tmp_path, materials)
    assert len(submit(campaign, stores).new) == 4
    summary = run_until_idle(stores, workers=2, quiet=True)
    assert summary.failed == 0
    results = campaign_results(stores, "little")
    assert results.states == {"completed": 4}
    evaluation = results.evaluations["relabelled"]
    assert evaluation["accuracy"]["total"] == 24
    assert evaluation["held_out"] is True
    assert sum(map(sum, evaluation["confusion"])) == 24
    assert [run["fold"] for run in results.trainings].count(None) == 1
    assert {run["state"] for run in results.trainings} == {"completed"}
    for pattern in stores.master_patterns.find():
        assert (root / pattern["file"]["path"]).stat().st_size == pattern["file"]["bytes"]
    report = Path(results.campaign.progress["report"])
    text = report.read_text()
    assert "Confusion matrix" in text and "data:image/webp;base64" in text
    assert "http://" not in text and "https://" not in text
    assert len(text) < 1_000_000
    assert not [*root.rglob("*.partial*"), *root.rglob("*.writing")]
    for _, collection, criteria, _ in QUERIES:
        list(stores.database[collection].find(parse_query(collection, criteria, stores)))

    # one structure's whole story
    pattern = stores.master_patterns.find_one({"material_id": materials[0]})
    story = structure_story(stores, materials[0])
    assert "campaign little: ended" in story
    assert "by builtin" in story and ": completed, 2 of 2 energies" in story
    assert f"file {pattern['file']['path']} ({pattern['file']['bytes']} bytes)" in story
    assert f"sha256 {pattern['file']['sha256'][:10]}" in story
    dataset = stores.datasets.find_one()
    (member,) = [m for m in dataset["members"] if m["material_id"] == materials[0]]
    assert f"(relabelled): 6 patterns in fold {member['fold']}" in story
    assert member["patterns"] == 6
    tested = stores.training_runs.find_one({"fold": member["fold"]})
    (phase,) = [p for p in tested["per_phase"] if p["material_id"] == materials[0]]
    assert f"training {tested['key'][:8]} (relabelled): {phase['accuracy']:.0%} of 6" in story

    the_pages_lead_from_a_confusion_cell_to_a_pattern(stores, root)

    # the same campaign again: nothing
    runs = stores.runs.count_documents({})
    again = submit(campaign, stores)
    assert again.new == () and again.learning is False
    assert run_until_idle(stores, workers=2, quiet=True).completed == 0
    assert stores.runs.count_documents({}) == runs

    # another training setting: no simulation; another map: all of them, the old ones stay
    assert submit(little(tmp_path, materials, epochs=2), stores).new == ()
    assert stores.runs.count_documents({}) == runs
    assert len(plan(little(tmp_path, materials, npx=7), stores).new) == 4
    assert stores.simulations.count_documents({"state": "completed"}) == 4


def the_pages_lead_from_a_confusion_cell_to_a_pattern(stores: Stores, root: Path) -> None:
    """``ebsdsg web`` on a real campaign: curves, confusion, phases, patterns, runs side by side."""
    client = TestClient(
        create_app(stores, root, Access.of("127.0.0.1", None)), base_url="http://127.0.0.1"
    )
    listed = client.get("/training").text
    runs = [run["key"] for run in stores.training_runs.find({"fold": {"$ne": None}})]
    assert len(runs) == 2 and all(key in listed for key in runs)
    page = client.get(f"/training/{runs[0]}").text
    figures = client.get(f"/training/{runs[0]}/figures").text
    curves = re.search(r'id="training-data">(.*?)</script>', figures, re.DOTALL)
    assert curves is not None and len(json.loads(curves[1])["data"]) >= 2
    cells = [unescape(link) for link in re.findall(r'href="([^"]*/confusion[^"]*)"', page)]
    counts = 0
    for link in cells:
        cell = client.get(link)
        assert cell.status_code == 200
        counts += int(re.search(r"<h2>(\d+) patterns", cell.text)[1])
        phase = unescape(re.search(r'href="([^"]*phase=[^"]*)"', cell.text)[1])
        pattern = re.search(r'src="([^"]*/patterns/\d+\.png)"', client.get(phase).text)[1]
        assert client.get(pattern).headers["content-type"] == "image/png"
    assert counts == 12  # every pattern of the fold is in one cell
    for wrong, status in (
        (f"/training/{runs[0]}/patterns/999999.png", 404),
        (f"/training/{runs[0]}/patterns/-1.png", 404),
        (f"/training/{runs[0]}/confusion?true=225&predicted=1", 404),
        (f"/training/{runs[0]}/confusion?true=225&predicted=999", 422),
        ("/training/none", 404),
        ("/training/compare", 422),
        ("/training/compare?" + "&".join(["run=x"] * 9), 422),
    ):
        assert client.get(wrong).status_code == status, wrong
    both = client.get("/training/compare", params={"run": runs})
    assert all(key[:6] in both.text for key in runs)
    row = int(re.search(r"(\d+)\.png", pattern)[1])
    a_pattern_is_named(client, runs[0], client.get(pattern).content, row)


def a_pattern_is_named(client: TestClient, run: str, content: bytes, row: int) -> None:
    """The uploaded picture of a training pattern finds its group's probabilities, and itself."""
    assert run in client.get("/predict").text
    home = {"Origin": "http://127.0.0.1"}

    def send(content: bytes, run: str = run, headers: dict[str, str] = home) -> Response:
        files = {"pattern": ("../../<b>.png", content)}
        return client.post("/predict", data={"model": f"run:{run}"}, files=files, headers=headers)

    answer = send(content)
    assert answer.status_code == 200
    shares = [float(p) for p in re.findall(r'<progress max="1" value="([^"]*)"', answer.text)]
    assert len(shares) == 2 and sum(shares) == pytest.approx(1)
    assert f"/patterns/{row}.png" in answer.text and "<b>" not in answer.text
    assert float(re.search(r"cross-correlation ([01]\.\d+)", answer.text)[1]) > 0.95
    assert send(content, headers={}).status_code == 403
    assert send(content, run="none").status_code == 404


@pytest.mark.slow
def test_a_killed_worker_is_taken_over_and_nothing_is_done_twice(
    stores: Stores, root: Path, tmp_path: Path, materials: list[str]
) -> None:
    campaign = little(tmp_path, materials[:2], npx=40)
    campaign = campaign.model_copy(update={"datasets": {}, "final_model": None})
    submit(campaign, stores)
    process = subprocess.Popen(
        [sys.executable, "-m", "ebsdsg_flows", "run", "-n", "1", "-q"],
        cwd=tmp_path,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    # a run is written before its simulation is claimed
    while (claimed := stores.simulations.find_one({"state": "running"})) is None:
        assert time.monotonic() < deadline, "no simulation started"
        time.sleep(0.05)
    running = stores.runs.find_one({"key": claimed["claim"]["run"]})
    os.kill(process.pid, signal.SIGKILL)
    os.killpg(running["owner"]["pid"], signal.SIGKILL)
    process.wait()
    assert stores.simulations.find_one({"key": running["simulation"]})["state"] == "running"

    summary = run_until_idle(stores, workers=2, quiet=True)
    assert summary.failed == 0
    assert summary.recovered == 1
    assert stores.runs.find_one({"key": running["key"]})["state"] == "lost"
    for simulation in stores.simulations.find():
        assert simulation["state"] == "completed"
        completed = stores.runs.count_documents(
            {"simulation": simulation["key"], "state": "completed"}
        )
        assert completed == 1
    assert not [*root.rglob("*.partial*"), *root.rglob("*.writing")]
