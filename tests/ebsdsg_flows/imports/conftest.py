"""A Materials Project on this machine, and the real client connected to it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from ebsdsg_flows.imports import MaterialsProject

sys.path.insert(0, str(Path(__file__).parents[2] / "fakes"))

from fake_materials_project import KEY, FakeMaterialsProject, bcc, fcc


@pytest.fixture
def server() -> Iterator[FakeMaterialsProject]:
    """Seven metals in group 225 and two in 229."""
    entries = [fcc(f"mp-10{i}", a=3.5 + i / 100) for i in range(7)]
    entries += [bcc("mp-201", "W"), bcc("mp-202", "Ta", a=3.3)]
    with FakeMaterialsProject(entries) as running:
        yield running


@pytest.fixture
def client(server: FakeMaterialsProject) -> MaterialsProject:
    """mp-api's client with the patience of a test."""
    return MaterialsProject(
        SecretStr(KEY),
        endpoint=server.endpoint,
        timeout=2.0,
        retries=2,
        first_pause=0.01,
        longest_pause=0.5,
    )
