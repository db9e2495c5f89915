"""A campaign file is checked to the last key before anything happens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ebsdsg_flows.campaign import CampaignError, load_campaign
from ebsdsg_flows.datasets import MissingPattern
from ebsdsg_flows.demo import demo_campaign
from ebsdsg_flows.planning import plan
from ebsdsg_flows.submit import submit
from stores.collections import Stores

REPOSITORY = Path(__file__).parents[2]

GOOD = """
name: little
structures: {source: demo}
simulation: {parameters: {npx: 5}}
datasets:
  "true": {label: "true", size: 32}
training: {epochs: 1}
final_model: "true"
"""


def two_sets(other: str, adaptation: str) -> str:
    """A campaign that adapts with one more data set."""
    sets = GOOD.replace("size: 32}\n", f"size: 32}}\n  other: {{label: 'true', {other}}}\n")
    return sets + f"adaptation: {{a: {{{adaptation}}}}}\n"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "campaign.yaml"
    path.write_text(text)
    return path


def test_defaults_are_filled_in(tmp_path: Path) -> None:
    campaign = load_campaign(written(tmp_path, GOOD))
    assert campaign.simulation.parameters["npx"] == 5
    assert campaign.simulation.parameters["dmin"] == 0.05
    assert campaign.datasets["true"]["n_folds"] == 5
    assert campaign.training["epochs"] == 1


def test_a_section_left_out_is_the_section_left_empty(tmp_path: Path) -> None:
    adapted = GOOD + "adaptation: {x: {sources: ['true'], target: there.h5, %s}}\n"
    without = adapted.replace("training: {epochs: 1}\n", "").replace("{parameters: {npx: 5}}", "{}")
    empty = adapted.replace("{epochs: 1}", "{}").replace("{npx: 5}", "{}")
    campaign = load_campaign(written(tmp_path, without % ""))
    assert campaign == load_campaign(written(tmp_path, empty % "settings: {}"))
    assert campaign.training["epochs"] == 10
    assert campaign.adaptation["x"].settings["method"] == "mcd"


def test_data_sets_of_one_size_fit_together(tmp_path: Path) -> None:
    text = two_sets("size: 32, classes: [229, 221]", "sources: ['true'], target: other")
    assert load_campaign(written(tmp_path, text)).adaptation["a"].target == "other"
    chiral = GOOD.replace("size: 32", "size: 32, classes: [225, 198]")
    load_campaign(written(tmp_path, chiral.replace("epochs: 1", "flips: false")))


def test_a_target_must_be_there_when_it_is_submitted(tmp_path: Path, stores: Stores) -> None:
    adapted = GOOD.replace("source: demo", "source: demo, materials: [mp-23]")
    adapted += "adaptation: {a: {sources: ['true'], target: TARGET}}\n"
    for target in ("no/such/file.npy", "a" * 64):
        campaign = load_campaign(written(tmp_path, adapted.replace("TARGET", target)))
        for call in (plan, submit):
            with pytest.raises(MissingPattern, match=f"{target} is neither a data set's key nor"):
                call(campaign, stores)
    assert stores.campaigns.find_one({}) is None  # nothing was stored
    (tmp_path / "patterns").mkdir()
    campaign = load_campaign(written(tmp_path, adapted.replace("TARGET", "patterns")))
    assert len(submit(campaign, stores).new) == 1


def test_a_relative_source_is_beside_the_file(tmp_path: Path) -> None:
    campaign = load_campaign(written(tmp_path, GOOD.replace("demo", "crystals/ni.cif")))
    assert campaign.structures.source == str(tmp_path / "crystals" / "ni.cif")


@pytest.mark.parametrize("name", ["demo", "paper"])
def test_shipped_campaigns_are_valid(name: str) -> None:
    assert load_campaign(REPOSITORY / "campaigns" / f"{name}.yaml").name == name


def test_the_demonstration_comes_with_the_package() -> None:
    assert demo_campaign() == load_campaign(REPOSITORY / "campaigns" / "demo.yaml")


def overridden(rule: str) -> str:
    return GOOD.replace("simulation: {", f"simulation: {{overrides: [{rule}], ")


def test_the_first_override_that_is_for_a_structure_counts(tmp_path: Path) -> None:
    text = GOOD.replace("npx: 5", "npx: 5, max_scatterings: 300").replace(
        "simulation: {",
        "simulation: {overrides: [{engine: emsoft, groups: [225, 229], materials: [mp-1]},"
        " {engine: builtin, materials: [mp-2]},"
        " {engine: emsoft, engine_options: {monte_carlo: cpu}, groups: [225]}], ",
    )
    simulation = load_campaign(written(tmp_path, text)).simulation
    engines = [(e.name, e.physics_version) for e in simulation.make_engines()]
    assert [name for name, _ in engines] == ["builtin", "emsoft", "builtin", "emsoft"]
    assert engines[1][1] != engines[3][1]  # another Monte Carlo is another simulation
    chosen = {
        (material, group): simulation.engine_number(material, lambda group=group: group)
        for material in ("mp-1", "mp-2", "mp-3")
        for group in (225, 229, 230)
    }
    assert list(chosen.values()) == [1, 1, 0, 2, 2, 2, 3, 0, 0]

    def never() -> int:
        raise AssertionError("the space group is asked for although no rule needs it")

    assert simulation.engine_number("mp-2", never) == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD + "speed: 11\n", "unknown key 'speed'"),
        (GOOD.replace("source: demo", "source: demo, grups: [225]"), "structures.grups"),
        (GOOD.replace("npx: 5", "npxx: 5"), "npxx"),
        (GOOD.replace("npx: 5", "npx: 0"), "npx = 0"),
        (GOOD.replace("npx: 5", "dmin: -1"), "dmin = -1"),
        (GOOD.replace("size: 32", "sise: 32"), "sise"),
        (GOOD.replace('  "true":', '  "a.b":'), "datasets: 'a.b' is not a name of letters"),
        (GOOD.replace('  "true":', '  "$a":'), "datasets: '$a' is not a name of letters"),
        (GOOD.replace("size: 32", "size: 4"), "datasets: true: size = 4"),
        (GOOD.replace("size: 32", "classes: 225"), "classes = 225: must be a list of space-group"),
        (GOOD.replace("size: 32", "detector: {distnce: 3}"), "true: detector: unknown entry 'dist"),
        (GOOD.replace("size: 32", "detector: {distance: abc}"), "distance = 'abc'"),
        (GOOD.replace("epochs: 1", "epocs: 1"), "epocs"),
        (GOOD.replace("epochs: 1", "crop: 500"), "training.crop = 500: the patterns of the data"),
        (GOOD.replace("epochs: 1", "model: resnet19"), "training.model: no torchvision or timm"),
        (GOOD.replace("epochs: 1", "model: 18"), "training: model = 18: must be text"),
        (GOOD.replace("epochs: 1", "weights: [a]"), "training: weights = ['a']: must be text"),
        (
            GOOD + 'adaptation: {a: {sources: ["true"], target: x, settings: {crop: 33}}}\n',
            "adaptation.a.settings.crop = 33",
        ),
        (
            GOOD + 'adaptation: {a: {sources: ["true"], target: x, settings: {model: n}}}\n',
            "adaptation.a.settings.model: no torchvision or timm model 'n'",
        ),
        (
            GOOD.replace("size: 32", "size: 32, classes: [225, 198]"),
            "training.flips = true: the data set 'true' has the groups 198",
        ),
        (
            two_sets("size: 64", "sources: [other], target: 'true'"),
            "adaptation.a: the data sets 'other' and 'true' differ in size (64 and 32)",
        ),
        (
            two_sets("size: 64", "sources: ['true', other], target: x"),
            "adaptation.a: the data sets 'true' and 'other' differ in size (32 and 64)",
        ),
        (
            two_sets("size: 32, classes: [229, 221]", "sources: [other], start: true, target: x"),
            "adaptation.a: the data sets 'other' and 'true' differ in classes ([221, 229] and ",
        ),
        (GOOD.replace("name: little", "name: ../etc"), "name"),
        (
            GOOD.replace('final_model: "true"', "final_model: other"),
            "campaign.yaml: final_model 'other' is not one of the data sets",
        ),
        (GOOD.replace("source: demo", "source: demo, groups: [231]"), "231"),
        (GOOD.replace("simulation: {", "simulation: {engine: guess, "), "engine"),
        (overridden("{engine: emsoft, groups: [230]}"), "max_scatterings: 300"),
        (overridden("{engine: builtin}"), "for which groups or materials"),
        (overridden("{groups: [230]}"), "'simulation.overrides.0.engine' is missing"),
        (overridden("{engine: builtin, groups: [0]}"), "[0] are not space groups"),
        (
            overridden("{engine: builtin, grups: [1]}"),
            "known keys here: engine, engine_options, gr",
        ),
        (overridden("{engine: builtin, groups: [1], engine_options: {a: 1}}"), "no option a"),
        (
            GOOD + "variants: {hot: {debye_waller: 0.01, typo: 1}}\n",
            "'variants.hot.typo'; known keys here: debye_waller, groups",
        ),
        # a name that is also a key's
        (
            GOOD + "variants: {debye_waller: {debye_waller: 0.01, typo: 1}}\n",
            "known keys here: debye_waller, groups",
        ),
        (
            GOOD + "variants: {hot: {debye_waller: {low: 0.01, high: 0.02, typo: 1}}}\n",
            "'variants.hot.debye_waller.typo'; known keys here: low, high, seed",
        ),
        (
            GOOD + "resources: {learning: {typo: 1}}\n",
            "'resources.learning.typo'; known keys here: category, walltime",
        ),
        (
            GOOD + "adaptation: {real: {typo: 1, sources: [relabelled], target: a}}\n",
            "'adaptation.real.typo'; known keys here: sources, target",
        ),
        (GOOD + "queue: {typo: 1}\n", "'queue.typo'; known keys here: priority, order"),
        (GOOD + "variants: {hot: {debye_waller: -0.01}}\n", "variants.hot.debye_waller: -0.01 is"),
        (GOOD + "variants: {hot: {debye_waller: some}}\n", "variants.hot.debye_waller: Input"),
        (GOOD + "variants: {hot: {debye_waller: .nan}}\n", "variants.hot.debye_waller: nan is"),
        (GOOD.replace("simulation: {", "simulation: {debye_waller: .inf, "), "debye_waller"),
        (GOOD.replace("source: demo", "source: demo, max_volume: {225: -3}"), "max_volume.225"),
        (GOOD.replace("source: demo", "source: demo, max_volume: {225: .nan}"), "max_volume.225"),
        (GOOD.replace("source: demo", "source: demo, max_volume: {999: 250}"), "max_volume.999"),
        (GOOD.replace("source: demo", "source: demo, symprec: .inf"), "structures.symprec"),
        (GOOD.replace("source: demo", "source: demo, symprec: 5000"), "structures.symprec"),
        ("structures: {source: demo}", "'name' is missing"),
        ("- a list", "must hold a mapping"),
        ("name: [", "not readable as YAML"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(CampaignError, match=r"campaign\.yaml") as error:
        load_campaign(written(tmp_path, text))
    assert says in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match=r"no campaign file at .*nothing\.yaml"):
        load_campaign(tmp_path / "nothing.yaml")


def test_networks_are_known_by_name_and_the_paper_s_without_torch(tmp_path: Path) -> None:
    for name in ("convnext_tiny", "timm/resnet26"):
        text = GOOD.replace("epochs: 1", f"model: {name}")
        assert load_campaign(written(tmp_path, text)).training["model"] == name
    asks = "import sys; from ebsdsg_flows.campaign import load_campaign as load;"
    path = written(tmp_path, GOOD)
    code = f"{asks} load({str(path)!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
