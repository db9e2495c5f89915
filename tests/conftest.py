"""Fixtures every test may use: the reference material beside the checkout and a clean directory."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.numba_cache import own_numba_cache

os.environ.setdefault("OMP_NUM_THREADS", "1")
NUMBA_CACHE = own_numba_cache()
"""Held, so that no other test process compiles into this one's folder."""

FREE_GIB = 4.0
"""Room the tests need where temporary files go: a whole run writes about half of it."""


def pytest_sessionstart(session: pytest.Session) -> None:
    """Refuse to begin on a disk that the tests would fill: every database test would then fail."""
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free / 2**30
    if free < FREE_GIB:
        pytest.exit(f"{free:.1f} GiB free at {folder}, the tests need {FREE_GIB:g}", returncode=3)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of reference material (EMsoft output, constants, structures, real patterns)."""
    folder = Path(os.environ.get("EBSDSG_SHARED", Path(__file__).parents[1].parent / "shared"))
    if not folder.is_dir():
        pytest.fail(f"reference material not found at {folder}; set EBSDSG_SHARED to its folder")
    return folder


@pytest.fixture(autouse=True)
def quiet_root_logger() -> Iterator[None]:
    """Undo what a library did to the root logger: maggma's ``Builder.run`` makes it print DEBUG."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    for handler in set(root.handlers) - set(handlers):
        if not type(handler).__module__.startswith("_pytest"):
            root.removeHandler(handler)


@pytest.fixture(autouse=True)
def same_directory() -> Iterator[None]:
    """Go back to where the test began: FireWorks' rapidfire stays in the folder of its launches."""
    here = Path.cwd()
    yield
    os.chdir(here)


@pytest.fixture
def clean_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
