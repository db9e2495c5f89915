"""Documents in a notebook: what they are, with units; whatever is in a name stays text."""

from __future__ import annotations

import re

import pytest
from sample_values import structure_values
from test_documents import SAMPLES, simulation

from stores.documents import Attempt, Failure, Owner, RunDocument, StructureDocument
from stores.states import State

SCRIPT = "<script>alert('x')</script>"


@pytest.mark.parametrize("name", SAMPLES)
def test_every_kind_has_a_card(name: str) -> None:
    document = SAMPLES[name]
    text = document._repr_html_()
    assert text.count("<strong>") == 1 and text.count("<tr>") >= 2
    assert type(document).__name__ in text and document.code_version in text
    assert not re.search(r"<script|https?:|style=\"[^\"]*color", text)
    assert len(text) < 10_000
    # nothing of it enters the database
    assert type(document).from_mongo(document.to_mongo()) == document


def test_a_name_with_a_script_is_escaped() -> None:
    document = StructureDocument(**structure_values(formula=SCRIPT, notes=[SCRIPT]))
    text = document._repr_html_()
    assert "<script" not in text and text.count("&lt;script&gt;") == 2


def test_a_structure_says_both_groups_and_why() -> None:
    document = StructureDocument(**structure_values())
    assert document.why == "with all atoms alike the group is the same"
    values = structure_values()
    values["relabel"] = {
        "number": 229,
        "symbol": "Im-3m",
        "symprec": 0.01,
        "by_tolerance": [{"symprec": 0.01, "number": 229}, {"symprec": 0.1, "number": 225}],
        "sensitive": True,
        "descent": {
            "kind": "klassengleiche",
            "k_index": 2,
            "t_index": 1,
            "groups": [229, 221],
            "text": "Im-3m (229) –k2→ Pm-3m (221)",
        },
    }
    changed = StructureDocument(**values)
    assert "have Im-3m" in changed.why and changed.why.endswith("–k2→ Pm-3m (221), klassengleiche")
    text = changed._repr_html_()
    for words in ("Fm-3m (225)", "Im-3m (229)", "229 at 0.01 Å, 225 at 0.1 Å", "nm", "g/cm³"):
        assert words in text, words
    assert "why" not in changed.to_mongo()


def test_a_run_that_failed_says_how() -> None:
    failure = Failure(code=150, name="time-out", message=f"no time left {SCRIPT}")
    run = RunDocument(
        stage="master pattern",
        program="EMEBSDmaster",
        owner=Owner(host="node7", pid=12),
        state=State.TIMED_OUT,
        energies_done=3,
        n_energies=11,
        failure=failure,
        queue_id="4711",
        wall_seconds=43200.4,
    )
    text = run._repr_html_()
    assert "150 time-out: no time left &lt;script&gt;" in text
    assert "timed_out, 3 of 11 energies" in text and "queue job 4711" in text and "43200 s" in text


def test_a_simulation_says_its_last_attempt() -> None:
    attempt = Attempt(number=1, state=State.FAILED, failure_code=145, host="node7")
    text = simulation(attempts=[attempt], state=State.FAILED)._repr_html_()
    assert "1, the last failed on node7, failure 145" in text
    assert "0.004 nm²" in text and "dmin 0.05 nm" in text
