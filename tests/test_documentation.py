"""The Python examples of the documentation run as they are printed, at a smaller size."""

from __future__ import annotations

import re
from pathlib import Path

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
