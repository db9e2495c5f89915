"""The queueing system that the queue adapter names."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.doctor.findings import Finding
from ebsdsg_flows.doctor.fireworks import find, read_yaml

if TYPE_CHECKING:
    from ebsdsg_flows.settings import Settings

SECONDS = 8.0
COMMANDS = {"SLURM": ("sbatch", "squeue"), "PBS": ("qsub", "qstat"), "SGE": ("qsub", "qstat")}


def check_queue(settings: Settings) -> Iterator[Finding]:
    """The queue of the adapter answers, has the partition, and its jobs will find their program."""
    path = find(settings, "my_qadapter.yaml")
    if path is None:
        text = "no my_qadapter.yaml; only `qlaunch` needs one"
        yield Finding("queue", "absent", text)
        return
    try:
        adapter = read_yaml(path)
    except ValueError as error:
        yield Finding("queue", "fault", str(error), "take my_qadapter.yaml of the repository")
        return
    kind = str(adapter.get("_fw_q_type"))
    commands = COMMANDS.get(kind)
    if commands is None:
        text = f"{path}: _fw_q_type is {kind}, which this check does not know"
        yield Finding("queue", "warning", text)
        return
    missing = [command for command in commands if shutil.which(command) is None]
    if len(missing) == len(commands) and not os.environ.get("SLURM_CONF"):
        text = f"no {kind} on this machine; `qlaunch` ({path}) is for one where there is"
        yield Finding("queue", "absent", text)
        return
    if missing:
        text = f"{', '.join(missing)} of {kind} are not on PATH"
        yield Finding("queue", "fault", text, "load the queue's module, or repair PATH")
        return
    if kind == "SLURM":
        yield from _slurm(adapter, path)
    else:
        yield Finding("queue", "ok", f"{kind}: {', '.join(commands)} are there")
    yield from _program(adapter, path)


def _slurm(adapter: dict[str, Any], path: Path) -> Iterator[Finding]:
    """Controller, partition and what keeps a worker's last words."""
    try:
        asked = subprocess.run(
            ["sinfo", "--noheader", "--format=%R|%a|%l"],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        text = f"Slurm's controller does not answer within {SECONDS:g} s"
        yield Finding("queue", "fault", text, "ask the administrators; is slurmctld running?")
        return
    if asked.returncode != 0:
        reason = " ".join(asked.stderr.split())[:200]
        text = f"Slurm's controller does not answer: {reason}"
        mend = "ask the administrators; is slurmctld running, is SLURM_CONF right?"
        yield Finding("queue", "fault", text, mend)
        return
    partitions = {line.split("|")[0]: line.split("|")[1] for line in asked.stdout.splitlines()}
    names = ", ".join(partitions) or "none"
    wanted = adapter.get("queue")
    if wanted and wanted not in partitions:
        text = f"{path}: Slurm has no partition {wanted!r}; it has: {names}"
        yield Finding("queue", "fault", text, "correct `queue`")
    elif wanted and partitions[wanted] != "up":
        text = f"partition {wanted!r} is {partitions[wanted]}"
        yield Finding("queue", "fault", text, "choose another in `queue`, or wait")
    else:
        yield Finding("queue", "ok", f"Slurm answers; partitions: {names}")
    if "trap" not in str(adapter.get("pre_rocket")):
        yield Finding(
            "queue",
            "warning",
            f"{path}: without `trap : TERM` in pre_rocket the job's shell ends before its worker, "
            "which then cannot tell that its time was over",
            "add it, as in the repository's my_qadapter.yaml",
        )


def _program(adapter: dict[str, Any], path: Path) -> Iterator[Finding]:
    """What the jobs will run is there."""
    words = str(adapter.get("rocket_launch", "")).split()
    words = words[1:] if words[:1] == ["exec"] else words
    if not words:
        yield Finding("queue", "fault", f"{path}: no rocket_launch", "ebsdsg rlaunch singleshot")
    elif shutil.which(words[0]) is None and "PATH" not in str(adapter.get("pre_rocket")):
        yield Finding(
            "queue",
            "fault",
            f"{path}: rocket_launch begins with {words[0]!r}, which is not on PATH",
            "activate the environment, or write the program's whole path",
        )
