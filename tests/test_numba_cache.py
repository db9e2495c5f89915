"""No two test processes share a folder of compiled functions; free folders are used again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.numba_cache import own_numba_cache


def test_folders_in_use_are_not_shared_and_free_ones_are_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", "of this process")
    with own_numba_cache(tmp_path):
        first = os.environ["NUMBA_CACHE_DIR"]
        with own_numba_cache(tmp_path):
            assert os.environ["NUMBA_CACHE_DIR"] != first
        (Path(first) / "kept").touch()
    with own_numba_cache(tmp_path):
        assert os.environ["NUMBA_CACHE_DIR"] == first
    assert (Path(first) / "kept").exists()


def test_this_process_compiles_into_a_folder_of_its_own() -> None:
    import numba

    assert Path(numba.config.CACHE_DIR).parent.name == "numba"
    assert os.environ["NUMBA_CACHE_DIR"] == numba.config.CACHE_DIR
