"""Settings: environment over file over defaults, and a wrong one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from ebsdsg_flows.settings import SettingsError, find_root, load_settings


@pytest.fixture(autouse=True)
def no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EBSDSG_CONFIG_FILE", str(tmp_path / "settings.yaml"))
    monkeypatch.delenv("EBSDSG_ROOT", raising=False)


def test_the_environment_wins_over_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "settings.yaml").write_text("workers: 3\nthreads: 5\n")
    monkeypatch.setenv("EBSDSG_WORKERS", "7")
    settings = load_settings()
    assert (settings.workers, settings.threads) == (7, 5)


def test_the_data_root_is_the_nearest_folder_above(clean_dir: Path) -> None:
    below = clean_dir / "a" / "b"
    below.mkdir(parents=True)
    assert find_root(below) == below / ".ebsdsg"
    (clean_dir / ".ebsdsg").mkdir()
    assert find_root(below) == clean_dir / ".ebsdsg"


def test_memory_is_shared_out_among_the_workers() -> None:
    assert load_settings(memory=1.5).memory_bytes == 3 * 2**29
    one, four = (load_settings(workers=n).memory_bytes for n in (1, 4))
    assert four == pytest.approx(one / 4, rel=0.2)


@pytest.mark.parametrize(
    ("name", "value"), [("WORKERS", "0"), ("MEMORY", "-1"), ("LOG_LEVEL", "LOUD")]
)
def test_a_wrong_value_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"EBSDSG_{name}", value)
    with pytest.raises(SettingsError, match=name):
        load_settings()


def test_an_unknown_key_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("wrokers: 3\n")
    with pytest.raises(SettingsError, match="wrokers"):
        load_settings()


def test_the_uri_is_not_shown() -> None:
    assert "s3cret" not in repr(load_settings(mongo_uri="mongodb://ann:s3cret@db/"))
