"""A server per test session, and roots for tests that start and kill their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.database import Database

from stores import embedded


@pytest.fixture(scope="session")
def embedded_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URI of an embedded server shared by the session's tests."""
    root = tmp_path_factory.mktemp("embedded")
    yield embedded.ensure_running(root)
    embedded.stop(root)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """Data root of a test's own server, stopped afterwards if it runs."""
    yield tmp_path / "root"
    embedded.stop(tmp_path / "root")


def server_uris() -> list[str]:
    """Servers the contract is checked against."""
    real = os.environ.get("EBSDSG_MONGO_URI")
    return ["embedded", "real"] if real else ["embedded"]


@pytest.fixture(scope="session", params=server_uris())
def server(request: pytest.FixtureRequest) -> Iterator[MongoClient[dict[str, Any]]]:
    """Client of the embedded server, and of a real one when EBSDSG_MONGO_URI names it."""
    if request.param == "real":
        uri = os.environ["EBSDSG_MONGO_URI"]
    else:
        uri = request.getfixturevalue("embedded_uri")
    with MongoClient(uri, serverSelectionTimeoutMS=10_000) as client:
        yield client


@pytest.fixture
def database(
    server: MongoClient[dict[str, Any]],
) -> Iterator[Database[dict[str, Any]]]:
    """An empty database, dropped afterwards."""
    name = f"ebsdsg_test_{os.getpid()}"
    server.drop_database(name)
    yield server[name]
    server.drop_database(name)


@pytest.fixture
def collection(database: Database[dict[str, Any]]) -> Collection[dict[str, Any]]:
    """An empty collection."""
    return database["c"]
