"""``ebsdsg doctor`` names what is wrong with set-ups that were broken on purpose, one at a time."""

from __future__ import annotations

import http.server
import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ebsdsg_flows.doctor.database import check_database
from ebsdsg_flows.doctor.findings import Finding, examine
from ebsdsg_flows.settings import load_settings
from stores.collections import Stores

Run = Callable[..., subprocess.CompletedProcess[str]]
KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def faults(ebsdsg: Run) -> Callable[[], dict[str, dict[str, str]]]:
    """What the doctor calls a fault now, by check; the exit code must agree."""

    def look() -> dict[str, dict[str, str]]:
        done = ebsdsg("doctor", "--json", timeout=60)
        found = json.loads(done.stdout)
        wrong = {f["check"]: f for f in found if f["verdict"] == "fault"}
        assert done.returncode == (1 if wrong else 0), done
        assert all(fault["mend"] for fault in wrong.values()), "a fault says how to mend it"
        return wrong

    return look


@pytest.fixture
def mp_server() -> Iterator[str]:
    """Address of a server that refuses every key but one."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.headers["X-API-KEY"] == KEY else 401)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


@pytest.mark.parametrize(
    "secret",
    [
        "ann:se cret",
        "ann:se'cret",
        'ann:sec"ret',
        "dom/ann:secret",
        "ann:x/secret",
        "ann:a@Secret/x",
        "ann:a@x?Secret=1",
    ],
)
def test_the_database_is_named_without_its_password(
    secret: str, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr("ebsdsg_flows.doctor.database.PATIENCE", 0.2)
    monkeypatch.setenv("EBSDSG_MONGO_URI", f"mongodb://{secret}@127.0.0.1:1/")
    findings = list(check_database(load_settings()))
    assert [finding.verdict for finding in findings] == ["fault"]
    told = [findings[0].what, *(str(warning.message) for warning in recwarn)]
    assert not re.search("cret|sec", " ".join(told).lower())


def test_a_sound_set_up_has_no_fault(
    stores: Stores, ebsdsg: Run, mp_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EBSDSG_MP_API_KEY", KEY)
    monkeypatch.setenv("EBSDSG_MP_ENDPOINT", mp_server)
    done = ebsdsg("doctor")
    assert done.returncode == 0, done.stdout
    assert "fault" not in done.stdout and "the key is accepted" in done.stdout
    assert KEY not in done.stdout


@pytest.mark.parametrize(
    ("setting", "value", "check", "words"),
    [
        ("MONGO_URI", "mongodb://ann:s3cret@127.0.0.1:9/", "database", "nothing answers at"),
        ("MONGO_CA_FILE", "/no/such/ca.pem", "database", "does not exist (tlsCAFile)"),
        ("ROOT", "/proc/ebsdsg", "disk", "nothing can be written in /proc"),
        ("DISK_RESERVE", "1000000", "disk", "less than 1e+06 GiB"),
        ("EMSOFT_PATH", "/usr/share", "EMsoft", "/usr/share lacks opencl"),
        ("DEVICE", "cuda:7", "GPU", "torch cannot use device 'cuda:7'"),
        ("MP_API_KEY", "short", "Materials Project", "the key has 5 characters"),
        ("HEARTBEAT", "often", "settings", "'heartbeat'"),
    ],
)
def test_a_wrong_setting_is_named(
    faults: Callable[[], dict[str, dict[str, str]]],
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    value: str,
    check: str,
    words: str,
) -> None:
    if setting == "MONGO_CA_FILE":
        monkeypatch.setenv("EBSDSG_MONGO_URI", "mongodb://127.0.0.1:9/")
    monkeypatch.setenv(f"EBSDSG_{setting}", value)
    found = faults()
    assert set(found) == {check}
    assert words in found[check]["what"]
    assert "s3cret" not in json.dumps(found)


def test_a_variable_that_is_no_setting_is_named_without_its_value(
    ebsdsg: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EBSDSG_MONGO_URL", "mongodb://ann:s3cret@db/")
    monkeypatch.setenv("EBSDSG_DEBUG", "1")
    done = ebsdsg("doctor", timeout=60)
    assert "EBSDSG_MONGO_URL is not a setting" in done.stdout
    assert "did you mean EBSDSG_MONGO_URI" in done.stdout
    assert "EBSDSG_DEBUG" not in done.stdout and "s3cret" not in done.stdout


def test_indexes_that_are_missing_or_of_another_version_are_named(
    stores: Stores, faults: Callable[[], dict[str, dict[str, str]]], ebsdsg: Run
) -> None:
    name = sorted(set(stores.runs.index_information()) - {"_id_", "key_unique"})[0]
    stores.runs.drop_index(name)
    assert f"1 missing: runs.{name}" in faults()["indexes"]["what"]
    stores.runs.create_index([("something", 1)], name=name)
    assert f"by another version: runs.{name}" in faults()["indexes"]["what"]
    stores.runs.drop_index(name)
    assert ebsdsg("db", "status").returncode == 0
    assert faults() == {}


def test_a_refused_key_is_told_from_a_server_that_is_away(
    faults: Callable[[], dict[str, dict[str, str]]],
    ebsdsg: Run,
    mp_server: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EBSDSG_MP_API_KEY", KEY[::-1])
    monkeypatch.setenv("EBSDSG_MP_ENDPOINT", mp_server)
    assert "refused (HTTP 401)" in faults()["Materials Project"]["what"]
    monkeypatch.setenv("EBSDSG_MP_ENDPOINT", "http://127.0.0.1:9/")
    assert faults() == {}
    assert "the key was not tried" in ebsdsg("doctor").stdout


def test_a_library_of_an_unknown_version_is_named(
    faults: Callable[[], dict[str, dict[str, str]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "site"
    (folder / "jobflow-9.9.dist-info").mkdir(parents=True)
    (folder / "jobflow-9.9.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: jobflow\nVersion: 9.9\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=":")
    assert faults()["versions"]["what"].startswith("jobflow is 9.9, known to work is")


def test_fireworks_files_that_harm_are_named(
    faults: Callable[[], dict[str, dict[str, str]]], tmp_path: Path
) -> None:
    config = tmp_path / "FW_config.yaml"
    config.write_text("PING_TIME_SECS: 3600\nRUN_EXPIRATION_SECS: 1800\n")
    assert "living workers would be taken for lost" in faults()["FireWorks"]["what"]
    config.unlink()
    launchpad = tmp_path / "my_launchpad.yaml"
    launchpad.write_text("host: mongodb://ann:s3cret@db/\nuri_mode: true\n")
    launchpad.chmod(0o644)
    assert "others can read it" in faults()["FireWorks"]["what"]
    launchpad.chmod(0o600)
    assert faults() == {}


def test_programs_of_emsoft_that_are_missing_are_named(
    faults: Callable[[], dict[str, dict[str, str]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "EMsoft"
    for name in ("opencl", "resources", "bin"):
        (folder / name).mkdir(parents=True)
    for name in ("RandomSeeds.data", "templatecodes.txt"):
        (folder / "resources" / name).touch()
    for name in ("EMmkxtal", "EMMCOpenCL"):
        (folder / "bin" / name).touch(mode=0o755)
    monkeypatch.setenv("EBSDSG_EMSOFT_PATH", str(folder))
    assert faults()["EMsoft"]["what"].startswith("EMEBSDmaster not found in")
    (folder / "bin" / "EMEBSDmaster").touch(mode=0o755)
    assert "EMsoft" not in faults()


def test_a_check_that_hangs_or_breaks_is_a_finding(root: Path) -> None:
    def hang(settings: object) -> Iterator[Finding]:
        time.sleep(60)
        yield Finding("never", "ok", "")

    def fail(settings: object) -> Iterator[Finding]:
        raise KeyError("mongodb://ann:s3cret@db/")
        yield

    begun = time.monotonic()
    found = examine(load_settings(), [("slow", hang), ("broken", fail)], timeout=0.5)
    assert time.monotonic() - begun < 5
    assert [(f.check, f.verdict) for f in found] == [("slow", "fault"), ("broken", "fault")]
    assert "s3cret" not in found[1].what


def test_a_platform_of_opencl_that_is_not_there_is_named(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ebsdsg_flows.doctor.accelerators import check_opencl
    from ebsdsg_flows.engines.emsoft import opencl

    monkeypatch.setattr(opencl, "probe", lambda: (opencl.Platform("Portable", ("GPU A",)),))
    monkeypatch.setenv("EBSDSG_EMSOFT_PATH", "/opt/EMsoft")
    assert [f.verdict for f in check_opencl(load_settings())] == ["ok"]
    monkeypatch.setenv("EBSDSG_EMSOFT_PLATFORM", "2")
    (found,) = check_opencl(load_settings())
    assert found.verdict == "fault" and "there are: 1 Portable" in found.what
