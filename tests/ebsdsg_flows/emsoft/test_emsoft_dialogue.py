"""EMmkxtal that cannot be run, is killed, or is asking when the worker must leave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ebsdsg_flows.engines.base import EngineFailure
from ebsdsg_flows.engines.emsoft.crystal_file import SYSTEM, Step
from ebsdsg_flows.engines.emsoft.dialogue import converse

ONE_QUESTION = [Step(SYSTEM, "1")]
ASKS = "#!/bin/sh\nprintf '  crystal system --->'\nread x\n"


def program(folder: Path, content: str | bytes) -> Path:
    """EMmkxtal as a file of its own."""
    folder.mkdir(exist_ok=True)
    path = folder / "EMmkxtal"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(0o755)
    return path


def talk(path: Path) -> str:
    return converse(
        [str(path)], ONE_QUESTION, environment=os.environ, folder=path.parent, timeout=20
    )


@pytest.mark.parametrize("name", ["a b", "it's", 'a "quoted" name', "back\\slash", "ümlaut"])
def test_its_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    path = program(tmp_path / name, f'{ASKS}echo "  Source = $x"\n')
    assert "Source = 1" in talk(path)


LIBRARY = "EMmkxtal: error while loading shared libraries: libhdf5.so: cannot open shared object"
TOO_OLD = "EMmkxtal: /lib/libc.so.6: version `GLIBC_2.38' not found (required by EMmkxtal)"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (f"#!/bin/sh\necho '{LIBRARY} file' >&2\nexit 127\n", 100),
        (f'#!/bin/sh\necho "{TOO_OLD}" >&2\nexit 1\n'.replace("`", "\\`"), 100),
        (b"\x7fELF\x02\x01\x01" + b"\0" * 60, 100),  # of another machine: Exec format error
        (f"{ASKS}kill -TERM $$\n", 146),
        (f"{ASKS}kill -KILL $$\n", 146),
        (f"{ASKS}kill -SEGV $$\n", 145),
        (f"{ASKS}exit 3\n", 121),
    ],
    ids=["library", "C library", "machine", "TERM", "KILL", "SEGV", "exit"],
)
def test_only_an_answer_that_it_refuses_is_the_crystals_fault(
    tmp_path: Path, content: str | bytes, code: int
) -> None:
    with pytest.raises(EngineFailure) as caught:
        talk(program(tmp_path / "bin", content))
    assert caught.value.code == code, caught.value


WORKER = """
import os, sys
from pathlib import Path
from ebsdsg_flows.engines.base import EngineFailure
from ebsdsg_flows.engines.emsoft.crystal_file import SYSTEM, Step
from ebsdsg_flows.engines.emsoft.dialogue import converse
folder = Path(sys.argv[1])
try:
    converse([str(folder / "EMmkxtal")], [Step(SYSTEM, "1")] * 2, environment=os.environ,
             folder=folder, before_end=lambda: print("told", flush=True))
except EngineFailure as failure:
    print(failure.code, flush=True)
"""


def test_a_worker_that_is_asked_to_leave_does_not_wait_for_the_next_question(
    tmp_path: Path,
) -> None:
    path = program(tmp_path / "bin", f"{ASKS}touch asked\nsleep 60\n")
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(path.parent)], stdout=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 60
    while not (path.parent / "asked").exists() and time.monotonic() < until:
        time.sleep(0.05)
    begun = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    said, _ = worker.communicate(timeout=60)
    assert said.split() == ["told", "151"] and worker.returncode == 0
    assert time.monotonic() - begun < 10
