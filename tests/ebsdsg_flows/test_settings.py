"""Settings: environment over file over defaults, and a wrong one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from ebsdsg_flows.settings import SettingsError, find_root, load_settings


@pytest.fixture(autouse=True)
def empty_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").touch()
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
    ("name", "value"),
    [
        ("WORKERS", "0"),
        ("MEMORY", "-1"),
        ("LOG_LEVEL", "LOUD"),
        ("DEVICE", "foo"),
        ("DEVICE", "cuda:"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"EBSDSG_{name}", value)
    with pytest.raises(SettingsError, match=name):
        load_settings()


def test_an_unknown_key_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("wrokers: 3\n")
    with pytest.raises(SettingsError, match="wrokers"):
        load_settings()


@pytest.mark.parametrize("name", ["missing.yaml", ".", "~nobodyx/settings.yaml"])
def test_a_named_settings_file_must_exist(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without it the command would quietly use another, empty database."""
    named = str(tmp_path / name) if name == "missing.yaml" else name
    monkeypatch.setenv("EBSDSG_CONFIG_FILE", named)
    with pytest.raises(SettingsError, match="EBSDSG_CONFIG_FILE = ") as error:
        load_settings()
    assert named in str(error.value)


@pytest.mark.parametrize("how", ["not set", "empty"])
def test_no_settings_file_is_needed_at_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    if how == "empty":
        monkeypatch.setenv("EBSDSG_CONFIG_FILE", "")
    else:
        monkeypatch.delenv("EBSDSG_CONFIG_FILE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_settings().database == "ebsdsg"
    (tmp_path / ".ebsdsg.yaml").write_text("database: mine\n")
    assert load_settings().database == "mine"
    (tmp_path / ".ebsdsg.yaml").unlink()
    (tmp_path / ".ebsdsg.yaml").mkdir()
    with pytest.raises(SettingsError, match="is a folder"):
        load_settings()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: b: s3cret", 1),
        ("- s3cret", 1),
        ("s3cret", 1),
        ("1: s3cret", 1),
        ("workers: 3\nmongo_password: s3cret\nmongo_password: s3cret", 3),
        ("workers: 3\nmongo_password: *s3cret", 2),
        ("workers: 3\nmongo_password: !s3cret x", 2),
    ],
)
def test_a_file_that_is_no_mapping_is_named_and_not_shown(
    text: str, line: int, tmp_path: Path
) -> None:
    (tmp_path / "settings.yaml").write_text(text)
    with pytest.raises(SettingsError, match=rf"settings\.yaml, line {line}: not ") as error:
        load_settings()
    assert "s3cret" not in str(error.value)


def test_a_key_that_is_said_twice_is_named(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("mongo_password: s3cret\nmongo_password: s3cret2\n")
    with pytest.raises(SettingsError, match="line 2: not clear, 'mongo_password' is said") as error:
        load_settings()
    assert "s3cret" not in str(error.value)


def test_a_home_that_nobody_knows_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROOT", "EMSOFT_PATH", "EMSOFT_BIN", "FINDSYM"):
        with monkeypatch.context() as wrong:
            wrong.setenv(f"EBSDSG_{name}", "~nobodyx/folder")
            with pytest.raises(SettingsError, match=f"EBSDSG_{name}.*no home folder ~nobodyx"):
                load_settings()


def test_a_user_without_a_home_has_no_settings_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container with a number for a user."""

    def without_home(path: Path) -> Path:
        if str(path).startswith("~"):
            raise RuntimeError("Could not determine home directory.")
        return path

    monkeypatch.delenv("EBSDSG_CONFIG_FILE")
    monkeypatch.setattr(Path, "expanduser", without_home)
    assert load_settings().database == "ebsdsg"


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_bytes(b"workers: \xff\xfe")
    with pytest.raises(SettingsError, match=r"settings\.yaml: not readable"):
        load_settings()


def test_the_uri_is_not_shown() -> None:
    assert "s3cret" not in repr(load_settings(mongo_uri="mongodb://ann:s3cret@db/"))
