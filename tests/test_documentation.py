"""The examples of the documentation: Python runs as it is printed, commands are ones there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from ebsdsg_flows.campaign import load_campaign
from ebsdsg_flows.cli.reference import root_command, walk
from ebsdsg_flows.sources import read_sources
from ebsdsg_flows.structures import structure_document
from ebsdsg_ml.orientations import proper_rotations
from ebsdsg_sim.crystal import Crystal, Site
from ebsdsg_sim.grid_symmetry import grid_operations
from ebsdsg_sim.subgroups import subgroup_graph
from ebsdsg_sim.symmetry import hall_number_for
from stores.documents import DOCUMENTS

REPOSITORY = Path(__file__).parents[1]


def examples(page: str) -> list[str]:
    """Python blocks of a page."""
    return re.findall(r"```python\n(.*?)```", (REPOSITORY / page).read_text(), re.DOTALL)


def test_one_crystal(clean_dir: Path) -> None:
    (code,) = examples("docs/howto/single_crystal.md")
    smaller = code.replace("npx=100", "npx=4, energy_step=10.0, n_electrons=20_000")
    assert smaller != code
    names: dict[str, object] = {}
    exec(compile(smaller, "single_crystal.md", "exec"), names)
    assert (clean_dir / "ni.h5").stat().st_size == names["report"].bytes


def test_every_import_of_the_examples_exists() -> None:
    pages = ["README.md", *(str(p.relative_to(REPOSITORY)) for p in REPOSITORY.glob("docs/*/*.md"))]
    lines = [
        line
        for page in pages
        for code in examples(page)
        for line in code.splitlines()
        if line.startswith(("from ", "import "))
    ]
    assert len(lines) > 8
    for line in lines:
        exec(line, {})


def shown_commands() -> list[tuple[str, str]]:
    """Every command line of `ebsdsg` in a code block of the documentation, with its page."""
    found = []
    for page in (REPOSITORY / "README.md", *sorted(REPOSITORY.glob("docs/**/*.md"))):
        if page.name == "changelog.md":
            continue
        blocks = re.findall(r"^```(?:console|bash|sh)\n(.*?)^```", page.read_text(), re.M | re.S)
        for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
            line = re.sub(r"^\$ (nohup )?", "", line)
            if line.startswith("ebsdsg "):
                found.append((str(page.relative_to(REPOSITORY)), line))
    return found


@pytest.mark.parametrize(("page", "line"), shown_commands())
def test_every_command_shown_is_one(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    stop = [i for i, word in enumerate(words) if re.match(r"\d?[>|&;]", word)]
    words = words[1 : stop[0] if stop else None]
    command, name = root_command(), "ebsdsg"
    while hasattr(command, "commands") and command.commands:
        context = command.make_context(name, list(words), resilient_parsing=True)
        assert words and words[0] in command.commands, f"{page}: {line}: no such command"
        name, command = words[0], command.commands[words[0]]
        words = words[1:]
        del context
    command.make_context(name, list(words))  # raises for what the command does not take


def test_many_commands_are_shown() -> None:
    lines = [line for _, line in shown_commands()]
    assert len(lines) > 60
    shown = {line.split()[1] for line in lines}
    known = {name.split()[1] for name, _ in walk(root_command()) if " " in name}
    # `make demo` is shown, and the jobs of a queue say `ebsdsg rlaunch` in its adapter
    assert known - shown <= {"demo", "rlaunch"}, "commands without an example"


def test_the_page_on_the_data_model_has_every_collection() -> None:
    page = (REPOSITORY / "docs/explanation/data_model.md").read_text()
    named = re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE)
    assert sorted(named) == sorted(kind.collection for kind in DOCUMENTS)
    assert len(named) == 14 and "Fourteen collections hold" in page


def test_the_page_on_other_groups_says_what_its_structures_are(clean_dir: Path) -> None:
    page = REPOSITORY / "docs/howto/new_space_groups.md"
    (code,) = examples("docs/howto/new_space_groups.md")
    exec(compile(code, page.name, "exec"), {})
    (campaign,) = [block for block in fenced(page, "yaml") if "name: groups" in block]
    Path("groups.yaml").write_text(campaign)
    loaded = load_campaign("groups.yaml")
    items, refused = read_sources(loaded.structures)
    assert not refused
    found = {
        document.formula: (document.space_group.number, document.relabel)
        for document in (structure_document(item.structure, item.material_id) for item in items)
    }
    labels = {formula: relabel.number for formula, (_, relabel) in found.items()}
    expected = dict.fromkeys(("Mg", "Ti", "Ti3Al"), 194) | dict.fromkeys(("In", "Pa", "TiAl3"), 139)
    assert labels == {formula: group for formula, (group, _) in found.items()} == expected
    for formula, text in (("Ti3Al", "–i4→ P6_3/mmc"), ("TiAl3", "–k2→ P4/mmm (123)")):
        descent = found[formula][1].descent
        assert descent is not None and text in descent.text
    assert set(loaded.datasets["relabelled"]["classes"]) == set(labels.values())
    cubic, hexagonal = (0.4, 0.4, 0.4, 90, 90, 90), (0.4, 0.4, 0.6, 90, 90, 120)
    shares = {}
    for group, cell in ((225, cubic), (139, cubic), (194, hexagonal), (166, hexagonal), (2, cubic)):
        crystal = Crystal("", cell, group, hall_number_for(group), (Site("Fe", (0, 0, 0)),))
        shares[group] = len(grid_operations(crystal.point_group))
    assert shares == {225: 16, 139: 16, 194: 8, 166: 4, 2: 2}
    rotations = {225: 24, 194: 12, 139: 8, 166: 6, 2: 1}
    assert {group: len(proper_rotations(group)) for group in rotations} == rotations
    printed = fenced(page, "console")[-1]
    for groups, kinds in (((191, 194), "k"), ((225, 229, 139), "t")):
        for step in subgroup_graph(groups, kinds):
            assert str(step) in printed


def fenced(page: Path, kind: str) -> list[str]:
    """Blocks of one kind on a page."""
    return re.findall(rf"^```{kind}\n(.*?)^```", page.read_text(), re.M | re.S)
