"""Copies of a workflow are what would be made one by one; a plan says what is new."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jobflow import Job
from monty.json import MontyDecoder

from ebsdsg_flows.bulk import UUID
from ebsdsg_flows.campaign import Campaign, CampaignError, load_campaign
from ebsdsg_flows.debye_waller import drawn
from ebsdsg_flows.estimate import Estimate, _expected_seconds
from ebsdsg_flows.learning_identity import learning_hashes
from ebsdsg_flows.planning import plan
from ebsdsg_flows.submit import Workflows, submit
from ebsdsg_sim.parameters import SimulationParameters
from stores.collections import Stores
from stores.documents import CampaignDocument, MemberDocument

CAMPAIGN = """
name: two
structures: {source: demo, materials: [mp-23, mp-149, mp-2593, mp-66]}
simulation: {parameters: {npx: 5, dmin: 0.1, max_scatterings: 300}}
variants:
  high: {groups: [225, 227], debye_waller: {low: 0.005, high: 0.011, seed: 3}}
resources:
  monte_carlo: {category: gpu, walltime: "04:00:00", gres: "gpu:1"}
  master_pattern: {category: cpu, cpus_per_task: 128, walltime: "12:00:00", qadapter: {qos: big}}
queue: {priority: 2}
"""
EMSOFT = CAMPAIGN.replace("simulation: {", "simulation: {engine: emsoft, ")


def written(folder: Path, text: str = CAMPAIGN) -> Campaign:
    (folder / "two.yaml").write_text(text)
    return load_campaign(folder / "two.yaml")


def anonymous(documents: Any) -> Any:
    """The same with uuids numbered in the order of appearance, and without times."""
    text = json.dumps(documents, sort_keys=True, default=str)
    names: dict[str, str] = {}
    text = re.sub(UUID, lambda m: names.setdefault(m[0], f"uuid{len(names)}"), text)
    return json.loads(re.sub(r'"\d{4}-\d\d-\d\d[T ][^"]*"', '"time"', text))


@pytest.mark.parametrize("text", [CAMPAIGN, EMSOFT], ids=["builtin", "emsoft"])
def test_a_copy_is_what_is_made_one_by_one(stores: Stores, tmp_path: Path, text: str) -> None:
    campaign = written(tmp_path, text)
    todo = plan(campaign, stores)
    assert len(todo.members) == 7
    workflows = Workflows(campaign)
    seen: set[str] = set()
    for key, member in todo.members.items():
        made = workflows.workflow(key, member)
        size, copier = workflows.copier(key, member, held=False)
        workflow, fireworks = copier(1)
        assert size == len(fireworks) == len(made.fws)
        ids = dict(
            zip(sorted((f.fw_id for f in made.fws), reverse=True), range(1, size + 1), strict=True)
        )
        made._reassign_ids({**ids})
        for firework in made.fws:
            firework.fw_id = ids[firework.fw_id]
        expected = [firework.to_db_dict() for firework in made.fws]
        for firework in expected:
            firework["state"] = "WAITING" if firework["fw_id"] != 1 else "READY"
            args = firework["spec"]["_tasks"][0]["job"]["function_args"]
            if isinstance(args[0], dict) and args[0]["@class"] == "Structure":
                args[0] = dict(member.item.values)  # the copy keeps what the source gave
        order = {firework["fw_id"]: firework for firework in fireworks}
        given = [order[firework["fw_id"]] for firework in expected]
        assert anonymous(given) == anonymous(expected)
        links = {str(k): v for k, v in made.links.items()}
        assert workflow["links"] == links
        assert workflow["name"] == made.name
        assert workflow["metadata"] == made.metadata
        uuids = set(re.findall(UUID, json.dumps(fireworks)))
        assert not uuids & seen, "two workflows share a uuid"
        seen |= uuids
        job = MontyDecoder().process_decoded(fireworks[0]["spec"]["_tasks"][0]["job"])
        assert isinstance(job, Job)
        assert job.function_args[0] == member.item.structure


def test_stages_have_categories_resources_and_priorities(stores: Stores, tmp_path: Path) -> None:
    submit(written(tmp_path, EMSOFT), stores)
    fireworks = list(stores.database["fireworks"].find())
    assert len(fireworks) == 7 * 5
    by_stage = {fw["name"].split(" ", 1)[1]: fw["spec"] for fw in fireworks}
    assert by_stage["monte carlo"]["_category"] == "gpu"
    assert by_stage["monte carlo"]["_queueadapter"] == {"walltime": "04:00:00", "gres": "gpu:1"}
    assert by_stage["master pattern"]["_category"] == "cpu"
    assert by_stage["master pattern"]["_queueadapter"] == {
        **{"walltime": "12:00:00", "cpus_per_task": 128, "qos": "big"},
    }
    assert "_category" not in by_stage["relabel"]
    priorities = {fw["name"].split()[0]: fw["spec"]["_priority"] for fw in fireworks}
    assert priorities["mp-23"] > priorities["mp-149"] > 2000  # nickel's cell is the smaller


def test_the_builtin_engine_has_no_monte_carlo_of_its_own(stores: Stores, tmp_path: Path) -> None:
    todo = submit(written(tmp_path), stores)
    assert todo.stages == (7, 7)
    assert stores.database["fireworks"].count_documents({}) == 7 * 4
    assert plan(written(tmp_path), stores).new == ()
    assert plan(written(tmp_path, EMSOFT), stores).stages == (4, 7)


def test_what_a_killed_submission_left_is_added_again(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ebsdsg_flows.workflows.PATIENCE", 0.2)
    campaign = written(tmp_path)
    submit(campaign, stores)
    lost = stores.database["workflows"].find_one({"metadata.material_id": "mp-2593"})
    stores.database["fireworks"].delete_many({"fw_id": {"$in": lost["nodes"]}})
    again = submit(campaign, stores)
    assert [again.members[key].material_id for key in again.new] == ["mp-2593"]
    assert stores.database["fireworks"].count_documents({}) == 7 * 4
    assert stores.database["workflows"].count_documents({}) == 7
    assert submit(campaign, stores).new == ()


def test_drawn_factors_are_uniform_and_always_the_same() -> None:
    limits = {"low": 0.005, "high": 0.011, "seed": 1}
    many = np.array([drawn(limits, f"mp-{i}", 3) for i in range(2000)])
    assert many.min() >= 0.005 and many.max() <= 0.011
    assert abs(many.mean() - 0.008) < 1e-4
    assert abs(many.std() - 0.006 / 12**0.5) < 5e-5
    assert abs(np.corrcoef(many.T)[0, 1]) < 0.06
    assert drawn(limits, "mp-23", 2) == drawn(limits, "mp-23", 2)
    assert drawn({**limits, "seed": 2}, "mp-23", 2) != drawn(limits, "mp-23", 2)


def test_parameters_left_out_are_the_defaults(stores: Stores, tmp_path: Path) -> None:
    def simulated(section: str) -> Campaign:
        return written(tmp_path, re.sub("simulation: .*", section, CAMPAIGN))

    without = simulated("simulation: {}")
    assert without.simulation.parameters == SimulationParameters().to_dict()
    assert len(plan(without, stores).new) == 7
    submit(without, stores)
    for section in ("", "simulation: {parameters: {}}", "simulation: {parameters: {npx: 300}}"):
        assert plan(simulated(section), stores).new == ()


def test_the_cost_is_estimated_from_what_finished(stores: Stores, tmp_path: Path) -> None:
    assert "no finished run to estimate from" in str(plan(written(tmp_path), stores))
    rng = np.random.default_rng(1)
    volumes = rng.uniform(10, 300, 60)
    seconds = 0.02 * volumes**2 * np.exp(rng.normal(0, 0.3, 60))
    expected, exponent, scatter = _expected_seconds(volumes, seconds, np.array([100.0, 200.0]))
    assert exponent == pytest.approx(2, abs=0.15)
    assert scatter == pytest.approx(np.exp(0.3), rel=0.15)
    assert expected == pytest.approx(0.02 * np.array([1e4, 4e4]) * np.exp(0.045), rel=0.15)
    mean, exponent, _ = _expected_seconds(volumes[:3], seconds[:3], np.array([100.0]))
    assert mean[0] == pytest.approx(seconds[:3].mean()) and exponent is None


def test_the_estimate_of_real_simulations_is_what_they_took() -> None:
    # primitive volume [Å^3] and CPU seconds of the demonstration's 24 structures
    volumes = np.array([
        *(10.49, 11.29, 11.45, 11.73, 13.08, 15.93, 16.47, 18.13, 18.44, 20.32, 22.30, 22.90),
        *(23.04, 23.39, 40.33, 43.26, 43.73, 45.69, 52.12, 70.90, 89.99, 94.16, 102.74, 116.91),
    ])  # fmt: skip
    seconds = np.array([
        *(1.99, 0.95, 1.75, 1.79, 1.80, 5.06, 1.42, 5.03, 1.22, 2.26, 6.14, 3.63),
        *(2.70, 3.01, 1.74, 2.00, 3.64, 3.30, 11.71, 6.71, 8.39, 10.13, 9.63, 22.37),
    ])  # fmt: skip
    unseen = [
        _expected_seconds(np.delete(volumes, i), np.delete(seconds, i), volumes[[i]])[0][0]
        for i in range(24)
    ]
    assert sum(unseen) == pytest.approx(seconds.sum(), rel=0.05)
    small, large = volumes < 30, volumes >= 30
    fitted, exponent, scatter = _expected_seconds(volumes, seconds, volumes)
    for part in (small, large):
        assert fitted[part].sum() == pytest.approx(seconds[part].sum(), rel=0.2)
    assert exponent == pytest.approx(0.8, abs=0.1) and scatter == pytest.approx(1.7, abs=0.1)
    minutes = str(Estimate(24, 0, float(fitted.sum()), 1.6e7, 24, exponent, scatter, 8.5))
    assert minutes.startswith("about 2.0 CPU-minutes and 0.02 GB")
    assert "8.5 times the volume of any finished one" in minutes


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("monte_carlo: {", "montecarlo: {", "unknown stage 'montecarlo'"),
        ('walltime: "04:00:00"', "walltime: 4h", "resources.monte_carlo.walltime"),
        ("low: 0.005", "low: 0.05", "must be below"),
        ("priority: 2", "priorty: 2", "unknown key 'queue.priorty'"),
        ("priority: 2", "max_open: 0", "queue.max_open"),
        ("high: {groups", "a b: {groups", "not a name"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(CampaignError) as error:
        written(tmp_path, CAMPAIGN.replace(old, new))
    assert says in str(error.value)


def test_status_show_and_query(
    stores: Stores, tmp_path: Path, ebsdsg: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    submit(written(tmp_path), stores)
    told = json.loads(ebsdsg("status", "--json").stdout)
    assert told["by_state"] == {"waiting": 7}
    assert told["by_group"]["227"] == {"waiting": 4}
    assert told["expected_end"] is None
    table = ebsdsg("status", "two")
    assert "two: 0 of 7 completed" in table.stdout and "227" in table.stdout, table
    shown = ebsdsg("show", "mp-2593")
    assert "mp-2593: not standardised yet\ncampaign two: open" in shown.stdout
    assert "nothing is known of 'mp-0'" in ebsdsg("show", "mp-0").stderr
    found = ebsdsg("query", '{"outcome": "open"}', "-c", "members", "-f", "material_id", "-l", "3")
    assert len(found.stdout.splitlines()) == 3
    assert "paused" in ebsdsg("pause", "two").stdout
    assert "two: 0 of 7 completed (paused)" in ebsdsg("status").stdout


BARE = """
name: {name}
structures: {{source: demo, materials: [mp-23]}}
datasets: {{one: {{size: 32}}}}
adaptation: {{a: {{sources: [one], target: one{settings}}}}}
"""
SPELLED_OUT = "simulation: {parameters: {npx: 300}}\ntraining: {epochs: 10}\n"
# as they were on 22 November 2026, with {} for each entry that was left out
OLD_MEMBER = "acff3c83cfc6fecfd1fd709d3280e726e9ff1fde5462d5388658e333c9501af9"
OLD_LEARNINGS = {
    ("",): "e1743f4fca36882fc22984a72d716659d5ed1a04f5e0ebefa74c40aa05b170bd",
    ("", "high"): "02d639224d18818c63e7bc5f67d914bbb41a54b57af20fc19be166491a25aa9d",
}
# and where the file said a value, or {}
MEMBER = "16199e518e3411c96ea7aa6f11c78b1a000be81f3f8de33ef35566fde3146642"
LEARNINGS = {
    ("",): "3ee43fd52f37bbfe99cd5a786f1a099b8bc357b73cf9def897cdbeba8201c89d",
    ("", "high"): "d24f7ca879443d1884cab59bd7ac567c3821dd03dcb91af1b7e3da96505bbbc2",
}


def bare(folder: Path, name: str = "bare", more: str = "", settings: str = "") -> Campaign:
    """Campaign that leaves its parameters out, or says them."""
    return written(folder, BARE.format(name=name, settings=settings) + more)


def as_before(stores: Stores) -> None:
    """Bring what was submitted into the state in which an older version left it."""
    member = {"metadata.member": MEMBER}
    workflows = stores.launchpad(strm_lvl="CRITICAL").workflows
    assert workflows.update_one(member, {"$set": {"metadata.member": OLD_MEMBER}}).modified_count
    changed = {"member": OLD_MEMBER, "key": MemberDocument.key_of("bare", OLD_MEMBER)}
    assert stores.members.update_one({"member": MEMBER}, {"$set": changed}).modified_count


def test_defaults_are_one_campaign_left_out_or_spelled_out(tmp_path: Path, stores: Stores) -> None:
    settings = ", settings: {method: mcd}"
    for campaign in (bare(tmp_path), bare(tmp_path, more=SPELLED_OUT, settings=settings)):
        assert list(plan(campaign, stores).members) == [MEMBER]


@pytest.mark.parametrize("more", ["", SPELLED_OUT])
def test_a_member_of_before_is_the_same_member(tmp_path: Path, stores: Stores, more: str) -> None:
    submit(bare(tmp_path), stores)
    as_before(stores)
    again = submit(bare(tmp_path, more=more), stores)
    assert (list(again.members), again.new) == ([OLD_MEMBER], ())
    assert [m["current"] for m in stores.members.find({})] == [True]
    # another campaign has it, too, once it is completed
    assert plan(bare(tmp_path, "other"), stores).new == (MEMBER,)
    workflows = stores.launchpad(strm_lvl="CRITICAL").workflows
    workflows.update_one({}, {"$set": {"state": "COMPLETED"}})
    todo = plan(bare(tmp_path, "other"), stores)
    assert (list(todo.members), todo.completed) == ([OLD_MEMBER], 1)
    # other parameters are another member
    other = bare(tmp_path, more=SPELLED_OUT.replace("300", "301"))
    assert not {MEMBER, OLD_MEMBER} & set(plan(other, stores).members)


def test_what_was_left_out_before_is_not_a_default_that_changes_later(
    tmp_path: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(bare(tmp_path), stores)
    as_before(stores)
    init = SimulationParameters.__init__
    monkeypatch.setattr(init, "__defaults__", (21.0, *init.__defaults__[1:]))  # voltage
    (new,) = plan(bare(tmp_path, more="simulation: {}\n"), stores).new
    assert new not in (MEMBER, OLD_MEMBER)


def stored(parameters: dict[str, Any]) -> CampaignDocument:
    return CampaignDocument(
        key="bare",
        name="bare",
        query={},
        structures=[],
        parameters=parameters,
        config_hash="0" * 64,
    )


@pytest.mark.parametrize("names", LEARNINGS)
def test_a_learning_of_before_is_known(tmp_path: Path, names: tuple[str, ...]) -> None:
    variants = {name: [str(n) * 64] for n, name in enumerate(names)}
    content = bare(tmp_path).model_dump(mode="json")
    hashes = learning_hashes(stored(content), variants)
    assert hashes[0] == LEARNINGS[names] and hashes[-1] == OLD_LEARNINGS[names]
    assert len(set(hashes)) == 4
    # a document that an older version wrote keeps its identity
    plans = {"a": {**content["adaptation"]["a"], "settings": {}}}
    older = stored({**content, "training": {}, "adaptation": plans})
    assert learning_hashes(older, variants) == [OLD_LEARNINGS[names]]
    # with another value nothing of before is the same
    other = stored({**content, "training": {**content["training"], "epochs": 3}})
    assert not {*hashes} & {*learning_hashes(other, variants)}
