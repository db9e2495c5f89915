"""States cannot skip, go back, or be changed by two at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stores.collections import Stores
from stores.states import ALLOWED, ENDED_BADLY, State, StateError, now, transition

LEGAL = {
    ("waiting", "running"),
    ("running", "completed"),
    ("running", "failed"),
    ("running", "timed_out"),
    ("running", "lost"),
    ("running", "waiting"),  # a stage is done, the next is another worker's
    ("failed", "waiting"),
    ("timed_out", "waiting"),
    ("lost", "waiting"),
}


def put(stores: Stores, state: State, key: str = "k", **fields: object) -> None:
    stores.database["work"].replace_one({"key": key}, {"key": key, "state": state, **fields}, True)


def state_of(stores: Stores, key: str = "k") -> str:
    found = stores.database["work"].find_one({"key": key})
    assert found is not None
    return found["state"]


@pytest.mark.parametrize("start", list(State))
@pytest.mark.parametrize("end", list(State))
def test_only_the_legal_transitions_exist(stores: Stores, start: State, end: State) -> None:
    put(stores, start)
    if (start, end) in LEGAL:
        assert transition(stores.database["work"], "k", start, end)["state"] == end
        assert state_of(stores) == end
    else:
        with pytest.raises(StateError, match="not a transition"):
            transition(stores.database["work"], "k", start, end)
        assert state_of(stores) == start


def test_completed_is_final() -> None:
    assert not ALLOWED[State.COMPLETED]
    assert State.COMPLETED not in ENDED_BADLY


@given(path=st.lists(st.sampled_from(list(State)), max_size=12))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sequence_of_requests_follows_the_graph(stores: Stores, path: list[State]) -> None:
    put(stores, State.WAITING)
    at = State.WAITING
    for wanted in path:
        if (at, wanted) in LEGAL:
            transition(stores.database["work"], "k", at, wanted)
            at = wanted
        else:
            with pytest.raises(StateError):
                transition(stores.database["work"], "k", at, wanted)
    assert state_of(stores) == at


def test_error_names_the_actual_state(stores: Stores) -> None:
    put(stores, State.TIMED_OUT)
    with pytest.raises(StateError, match=r"k: cannot go from running to failed.*is timed_out") as e:
        transition(stores.database["work"], "k", State.RUNNING, State.FAILED)
    assert e.value.actual is State.TIMED_OUT


def test_error_says_that_there_is_no_such_document(stores: Stores) -> None:
    with pytest.raises(StateError, match="no document with the key nobody") as error:
        transition(stores.database["work"], "nobody", State.WAITING, State.RUNNING)
    assert error.value.actual is None


def test_a_condition_that_fails_changes_nothing(stores: Stores) -> None:
    put(stores, State.RUNNING, owner="a", n=1)
    with pytest.raises(StateError, match="owner changed meanwhile"):
        transition(
            stores.database["work"],
            "k",
            State.RUNNING,
            State.FAILED,
            where={"owner": "b"},
            fields={"n": 2},
        )
    found = stores.database["work"].find_one({"key": "k"}, {"_id": False})
    assert found == {"key": "k", "state": "running", "owner": "a", "n": 1}


def test_fields_lists_and_counters_change_in_the_same_step(stores: Stores) -> None:
    put(stores, State.LOST, tries=[1], n=1, claim="x")
    after = transition(
        stores.database["work"],
        "k",
        ENDED_BADLY,
        State.WAITING,
        fields={"why": "again"},
        unset=["claim"],
        push={"tries": 2},
        increment={"n": 1},
    )
    assert (after["why"], after["tries"], after["n"], after["state"]) == (
        "again",
        [1, 2],
        2,
        "waiting",
    )
    assert "claim" not in after
    assert after["last_updated"].replace(tzinfo=UTC) <= now()


def test_of_many_at_once_exactly_one_wins(stores: Stores) -> None:
    def race(n: int) -> bool:
        try:
            transition(stores.database["work"], "k", State.WAITING, State.RUNNING, fields={"by": n})
        except StateError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        for _ in range(10):
            put(stores, State.WAITING)
            assert sum(pool.map(race, range(8))) == 1
