"""A campaign that is submitted again gets what is missing and loses nothing."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from ebsdsg_flows import submit as submission
from ebsdsg_flows.campaign import Campaign, load_campaign
from ebsdsg_flows.control import cancel
from ebsdsg_flows.submit import Plan, SubmissionError, plan, submit
from stores.collections import Stores
from stores.connect import connect
from stores.documents import CampaignDocument

CAMPAIGN = """
name: again
description: {description}
structures: {{source: demo, materials: [mp-23, mp-149]}}
simulation: {{parameters: {{npx: 5, dmin: 0.1}}}}
"""


def written(folder: Path, description: str) -> Campaign:
    path = folder / "again.yaml"
    path.write_text(CAMPAIGN.format(description=description))
    return load_campaign(path)


def document(stores: Stores) -> CampaignDocument:
    found = stores.get(CampaignDocument, "again")
    assert found is not None
    return found


def test_a_changed_word_loses_no_results(stores: Stores, tmp_path: Path) -> None:
    submit(written(tmp_path, "first"), stores)
    results: dict[str, Any] = {
        "progress": {"learning": "x", "evaluations": {"true": {"accuracy": 0.9}}},
        "datasets": ["a" * 64],
        "training_runs": ["b"],
        "simulations": ["c" * 64],
        "skipped": [{"identifier": "mp-1", "reason": "bad"}],
    }
    stores.campaigns.update_one({"key": "again"}, {"$set": results})
    before = document(stores)
    assert submit(written(tmp_path, "second"), stores).new == ()
    after = document(stores)
    assert after.query["description"] == "second"
    assert after.config_hash != before.config_hash and after.last_updated > before.last_updated
    said = {"query", "config_hash", "last_updated"}
    assert after.model_dump(exclude=said) == before.model_dump(exclude=said)


def test_what_a_person_decides_meanwhile_stays(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(written(tmp_path, "first"), stores)
    plain = CampaignDocument.to_mongo

    def slow(self: CampaignDocument) -> dict[str, Any]:
        cancel(stores, "again")
        return plain(self)

    monkeypatch.setattr(CampaignDocument, "to_mongo", slow)
    assert "the campaign is cancelled" in submit(written(tmp_path, "second"), stores).note
    assert document(stores).control == "cancelled"


def test_two_submissions_at_once_add_everything_once(
    stores: Stores, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = written(tmp_path, "first")
    both = threading.Barrier(2)

    def together(*arguments: Any, **options: Any) -> Plan:
        planned = plan(*arguments, **options)
        both.wait(30)
        return planned

    monkeypatch.setattr(submission, "plan", together)
    added: list[int] = []

    def add() -> None:
        with connect(root=root) as mine:
            added.append(len(submit(campaign, mine).new))

    threads = [threading.Thread(target=add) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(added) == [0, 2]
    assert stores.database["workflows"].count_documents({}) == 2
    assert stores.database["leases"].count_documents({}) == 0


def test_a_submission_that_stood_still_adds_nothing_more(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = written(tmp_path, "first")
    record = submission._record

    def stands_still(*arguments: Any) -> str:
        stores.database["leases"].update_one({}, {"$set": {"holder": "another"}})
        return record(*arguments)

    monkeypatch.setattr(submission, "_record", stands_still)
    with pytest.raises(SubmissionError, match=r"0 of 2 simulations .* submit it again"):
        submit(campaign, stores)
    assert stores.database["workflows"].count_documents({}) == 0
