"""When a campaign's learning is added: after the last end of a simulation, and once."""

from __future__ import annotations

from pathlib import Path

from waiting_simulation import waiting_simulation

from ebsdsg_flows.advance import begin, settle
from ebsdsg_flows.campaign import load_campaign
from ebsdsg_flows.control import cancel, resume
from ebsdsg_flows.learning_identity import learning_hashes
from ebsdsg_flows.submit import submit
from stores.collections import Stores
from stores.documents import CampaignDocument, Failure
from stores.runs import claim, retry
from stores.states import State

CAMPAIGN = """
name: {name}
structures: {{source: demo, materials: [mp-23, mp-30]}}
simulation: {{parameters: {{npx: 5, dmin: 0.1}}}}
datasets:
  one: {{label: "true", classes: [225, 227], patterns_per_class: 10, size: 32, n_folds: 2}}
"""


def submitted(stores: Stores, folder: Path, name: str = "c") -> list[str]:
    """Keys of the two members of a campaign that learns from them."""
    path = folder / f"{name}.yaml"
    path.write_text(CAMPAIGN.format(name=name))
    submit(load_campaign(path), stores)
    return sorted(member["key"] for member in stores.members.find({"campaign": name}))


def ended(stores: Stores, key: str, state: State) -> None:
    """Claim a simulation and end it."""
    failure = None if state is State.COMPLETED else Failure(code=10, name="f", message="m")
    claim(stores, key, stage="master pattern", program="p").finish(state, failure=failure)


def outcome(stores: Stores, member: str) -> str:
    found = stores.members.find_one({"key": member})
    assert found is not None
    return str(found["outcome"])


def learnings(stores: Stores, campaign: str = "c") -> int:
    return stores.database["workflows"].count_documents(
        {"metadata.campaign": campaign, "metadata.learning": {"$exists": True}}
    )


def test_learning_waits_for_a_simulation_that_was_given_to_another_worker(
    stores: Stores, tmp_path: Path
) -> None:
    first, second = submitted(stores, tmp_path)
    keys = [waiting_simulation(stores, cell=0.35).key, waiting_simulation(stores, cell=0.36).key]
    for member, key in zip((first, second), keys, strict=True):
        begin(stores, member, key)
    ended(stores, keys[0], State.COMPLETED)
    settle(stores, first)
    assert (outcome(stores, first), learnings(stores)) == ("ended", 0)

    # the worker of the second was told to leave: it was lost, and waits, and is computed elsewhere
    settle(stores, second)
    assert (outcome(stores, second), learnings(stores)) == ("open", 0)
    run = claim(stores, keys[1], stage="master pattern", program="p")
    settle(stores, second)
    assert (outcome(stores, second), learnings(stores)) == ("open", 0)

    run.finish(State.COMPLETED)
    settle(stores, second)
    assert (outcome(stores, second), learnings(stores)) == ("ended", 1)
    assert stores.campaigns.find_one({})["simulations"] == sorted(keys)


def test_a_simulation_ends_for_every_campaign_that_waits_for_it(
    stores: Stores, tmp_path: Path
) -> None:
    mine, theirs = submitted(stores, tmp_path), submitted(stores, tmp_path, "other")
    keys = [waiting_simulation(stores, cell=0.35).key, waiting_simulation(stores, cell=0.36).key]
    for members in (mine, theirs):
        for member, key in zip(members, keys, strict=True):
            begin(stores, member, key)
    ended(stores, keys[0], State.COMPLETED)
    ended(stores, keys[1], State.FAILED)
    settle(stores, mine[0])
    assert (learnings(stores), learnings(stores, "other")) == (0, 0)
    settle(stores, mine[1])  # nobody is left who would say it of the other campaign's
    assert [outcome(stores, member) for member in theirs] == ["ended", "ended"]
    assert (learnings(stores), learnings(stores, "other")) == (1, 1)
    # sent again, it is to come again
    retry(stores, keys[1])
    begin(stores, theirs[1], keys[1])
    settle(stores, theirs[1])
    assert outcome(stores, theirs[1]) == "open"


def test_learning_that_came_due_while_cancelled_is_added_by_resume(
    stores: Stores, tmp_path: Path
) -> None:
    members = submitted(stores, tmp_path)
    for number, member in enumerate(members):
        key = waiting_simulation(stores, cell=0.35 + number).key
        begin(stores, member, key)
        ended(stores, key, State.COMPLETED)
    cancel(stores, "c")
    for member in members:
        settle(stores, member)
    assert learnings(stores) == 0
    assert "1 learning workflow added" in str(resume(stores, "c"))
    assert learnings(stores) == 1
    # nor again, where the campaign came back to what it had learned from before
    stores.campaigns.update_one({"key": "c"}, {"$set": {"progress.learning": "0" * 64}})
    assert resume(stores, "c").learning == 0
    assert learnings(stores) == 1


def test_what_was_learned_before_is_not_learned_again(stores: Stores, tmp_path: Path) -> None:
    members = submitted(stores, tmp_path)
    for number, member in enumerate(members):
        key = waiting_simulation(stores, cell=0.35 + number).key
        begin(stores, member, key)
        ended(stores, key, State.COMPLETED)
    document = stores.get(CampaignDocument, "c")
    assert document is not None
    simulations = sorted(stores.simulations.distinct("key"))
    _, older = learning_hashes(document, {"": simulations})
    stores.database["workflows"].insert_one({"metadata": {"campaign": "c", "learning": older}})
    for member in members:
        settle(stores, member)
    assert learnings(stores) == 1
    assert stores.campaigns.find_one({})["progress"]["learning"] == older
