"""A data root of its own, with its own embedded database, for every test that asks for one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ebsdsg_flows.session import open_stores
from ebsdsg_flows.settings import get_settings
from stores.collections import Stores
from stores.embedded import stop


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Data root; its database is stopped afterwards."""
    folder = tmp_path / "root"
    for name in [name for name in os.environ if name.startswith("EBSDSG_")]:
        if name != "EBSDSG_SHARED":
            monkeypatch.delenv(name)
    monkeypatch.setenv("EBSDSG_ROOT", str(folder))
    monkeypatch.setenv("EBSDSG_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("EBSDSG_WORKERS", "2")
    monkeypatch.setenv("EBSDSG_HEARTBEAT", "0.5")
    get_settings.cache_clear()
    open_stores.cache_clear()
    yield folder
    get_settings.cache_clear()
    open_stores.cache_clear()
    stop(folder)


@pytest.fixture
def stores(root: Path) -> Stores:
    """The open database of the data root."""
    return open_stores()


@pytest.fixture
def ebsdsg(root: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command line, run as a process of its own in an empty directory."""

    def call(*arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ebsdsg_flows", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return call
