"""A whole campaign with adaptation: structures in, networks adapted to real patterns out."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from ebsdsg_flows.campaign import load_campaign
from ebsdsg_flows.experimental import record
from ebsdsg_flows.results import campaign_results
from ebsdsg_flows.run import run_until_idle
from ebsdsg_flows.submit import submit
from ebsdsg_ml.experimental.given import Given
from ebsdsg_ml.experimental.processing import PatternProcessing
from ebsdsg_ml.experimental.read import import_patterns
from ebsdsg_ml.pattern_model import PatternModel
from stores.collections import Stores
from stores.documents import EnsembleDocument, TrainingRunDocument

SIZE = 32
CAMPAIGN = """
name: adapted
structures: {{source: demo, materials: {materials}}}
simulation:
  debye_waller: 0.004
  parameters: {{npx: 6, dmin: 0.1, energy_step: 10.0, n_electrons: 20000, mc_pixels: 51}}
variants:
  high: {{debye_waller: {{low: 0.005, high: 0.01}}}}
datasets:
  both:
    label: relabelled
    classes: [225, 229]
    patterns_per_class: 12
    size: {size}
    n_folds: 2
    debye_waller: {{low: [0.0, 0.0045], high: [0.005, 0.011]}}
training: {{model: mobilenet_v3_small, epochs: 1, batch_size: 16, threads: 1}}
final_model: both
adaptation:
  paper:
    sources: [both]
    target: {target}
    seeds: 2
    settings: {{method: mcd, model: resnet18, epochs: 1, batch_size: 8, threads: 1}}
  own:
    sources: [both]
    target: {target}
    start: true
    settings: {{method: self-training, epochs: 1, batch_size: 8, threads: 1, criterion: bnm}}
"""


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
    return [identifier for ids in chosen.values() for identifier in ids]


@pytest.mark.slow
def test_structures_in_and_networks_adapted_to_real_patterns_out(
    stores: Stores, root: Path, tmp_path: Path, shared: Path
) -> None:
    imported = tmp_path / "nickel.h5"
    import_patterns(
        [shared / "data/patterns/kikuchipy_Ni/patterns.h5"],
        imported,
        processing=PatternProcessing(SIZE),
        given=Given("Ni", 225, relabelled=225),
    )
    target = record(stores, imported)
    path = tmp_path / "adapted.yaml"
    path.write_text(CAMPAIGN.format(materials=materials(), size=SIZE, target=target.key))
    submit(load_campaign(path), stores)
    assert run_until_idle(stores, workers=2, quiet=True).failed == 0

    runs = [
        TrainingRunDocument.from_mongo(run)
        for run in stores.training_runs.find({"adaptation": {"$ne": None}})
    ]
    assert {str(run.state) for run in runs} == {"completed"}
    by_method = {run.adaptation.method: run for run in runs if run.adaptation}
    assert len(runs) == 3 and set(by_method) == {"mcd", "self-training"}
    final = stores.training_runs.find_one({"adaptation": None, "fold": None})
    assert final is not None and by_method["self-training"].parent == final["key"]
    for run in runs:
        assert run.adaptation is not None and run.adaptation.n_target == 9
        # the truth is nickel's; it was recorded, not used
        assert run.adaptation.target_accuracy is not None
        assert run.checkpoint is not None and len(run.images) == 1
        model = PatternModel.load(root / run.checkpoint.path)
        assert model.classes == (225, 229)
        # both sets of Debye-Waller factors are the source
        assert model.card.training["n_source"] == 48
        # asked for patterns of nickel, the model gets them as it was adapted to them
        assert model.card.processing == PatternProcessing(SIZE).to_dict()
        assert "processed otherwise" in run.adaptation.remarks[0]
        with Image.open(root / run.images[0].path) as picture:
            assert picture.height > 3 * 96
    ensembles = [EnsembleDocument.from_mongo(found) for found in stores.ensembles.find()]
    members = {tuple(sorted(e.members)) for e in ensembles}
    assert members == {
        tuple(sorted(r.key for r in runs if r.adaptation and r.adaptation.method == m))
        for m in by_method
    }
    results = campaign_results(stores, "adapted")
    assert results.states == {"completed": 8}
    assert set(results.campaign.progress["ensembles"]) == {"paper", "own"}
    assert Path(results.campaign.progress["report"]).is_file()

    # the same campaign again: nothing is computed
    assert submit(load_campaign(path), stores).learning is False
    assert stores.training_runs.count_documents({}) == 6
