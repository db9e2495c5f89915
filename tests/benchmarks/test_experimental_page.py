"""The page on real patterns is what its numbers say."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from experimental_answers import DOCS, page


def test_the_page_is_made_of_its_numbers():
    written = (DOCS / "validation/experimental.md").read_text()
    results = json.loads((DOCS / "validation/experimental.json").read_text())
    assert page(results) == written
    bare = [result for result in results if result["card"]["calibration"] is None]
    assert len(bare) == 1 and written.count("not calibrated: no sets, every pattern") == 1
