"""A private Slurm and a folder with the files of the repository's top, for tests of the cluster."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from checkout import BIN, Checkout
from debian_packages import PATH, ProgramMissing
from slurm import Slurm

from stores.connect import connect
from stores.embedded import ensure_running, stop

REPOSITORY = Path(__file__).parents[2]
FILES = ("launchpad.yaml", "my_fworker.yaml", "my_qadapter.yaml", "FW_config.yaml")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A running Slurm; nothing of it is left afterwards."""
    cluster = Slurm(tmp_path_factory.mktemp("slurm"), cpus=4)
    try:
        cluster.start()
    except ProgramMissing as error:
        pytest.fail(str(error))
    except BaseException:
        cluster.stop()
        raise
    yield cluster
    cluster.stop()


@pytest.fixture
def checkout(tmp_path: Path, slurm: Slurm) -> Iterator[Checkout]:
    """The files of the repository's top in a folder of their own, on the private Slurm."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in FILES:
        shutil.copy(REPOSITORY / name, folder)
    root = folder / ".ebsdsg"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("EBSDSG_")}
    environment |= {
        "SLURM_CONF": slurm.environment["SLURM_CONF"],
        "PATH": os.pathsep.join([str(BIN), PATH]),
        "VIRTUAL_ENV": str(BIN.parent),  # as an activated environment says it
        "OMP_NUM_THREADS": "1",
        "EBSDSG_CONFIG_FILE": os.devnull,
        "EBSDSG_HEARTBEAT": "1",
        "EBSDSG_MEMORY": "0.5",
        "EBSDSG_LOG_LEVEL": "INFO",
    }
    ensure_running(root)
    with connect(root=root) as stores:
        yield Checkout(folder, environment, stores)
    for number in slurm.call("squeue", "--noheader", "--format=%i").split():
        slurm.call("scancel", number)
    stop(root)


@pytest.fixture(scope="session")
def small_structures(shared: Path) -> Callable[[Path, int], list[str]]:
    """Writer of a source file with the first so many cubic elements and compounds of few atoms."""

    def write(path: Path, number: int) -> list[str]:
        chosen: dict[str, str] = {}
        with gzip.open(shared / "data" / "structures" / "mp_cubic.jsonl.gz", "rt") as rows:
            for row in rows:
                entry = json.loads(row)
                if entry["nsites"] <= 2 and 15 < entry["volume_primitive"] < 40:
                    chosen.setdefault(entry["formula_pretty"], row)
                if len(chosen) == number:
                    break
        path.write_text("".join(chosen.values()), encoding="utf-8")
        return [str(json.loads(row)["material_id"]) for row in chosen.values()]

    return write
