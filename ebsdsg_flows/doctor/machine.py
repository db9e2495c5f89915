"""Libraries and disk of this machine."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from ebsdsg_flows.doctor.findings import Finding

if TYPE_CHECKING:
    from ebsdsg_flows.settings import Settings

PACKAGE = "ebsdsg"


def check_versions(settings: Settings) -> Iterator[Finding]:
    """Every library that this package needs is there in a version that is known to work."""
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(text) for text in metadata.requires(PACKAGE) or []]
    except metadata.PackageNotFoundError:
        yield Finding("versions", "warning", f"{PACKAGE} is not installed, so nothing is known")
        return
    wrong = []
    needed = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    for one in needed:
        try:
            found = metadata.version(one.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{one.name} is missing")
            continue
        if not one.specifier.contains(found, prereleases=True):
            wrong.append(f"{one.name} is {found}, known to work is {one.specifier}")
    if wrong:
        mend = "pip install -c constraints.txt -e . in the repository"
        yield Finding("versions", "fault", "; ".join(wrong), mend)
    else:
        yield Finding("versions", "ok", f"{len(needed)} libraries as required")


def check_disk(settings: Settings) -> Iterator[Finding]:
    """Files can be written below the data root, and there is room for them."""
    existing = settings.root
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    choose = "set EBSDSG_ROOT to a folder of yours on a disk with room"
    if not existing.is_dir():
        yield Finding("disk", "fault", f"{existing} is not a folder", choose)
        return
    try:
        with tempfile.NamedTemporaryFile(dir=existing, prefix=".ebsdsg-doctor-") as file:
            file.write(b"ebsdsg")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        reason = error.strerror or str(error)
        yield Finding("disk", "fault", f"nothing can be written in {existing}: {reason}", choose)
        return
    free = shutil.disk_usage(existing).free / 2**30
    text = f"{free:.1f} GiB are free at {existing}"
    if free < settings.disk_reserve:
        mend = f"make room, or {choose}; the limit is EBSDSG_DISK_RESERVE"
        yield Finding("disk", "fault", f"{text}, less than {settings.disk_reserve:g} GiB", mend)
    else:
        yield Finding("disk", "ok", text)
    kind = _file_system(existing)
    if settings.mongo_uri is None and kind in ("nfs", "nfs4", "cifs", "lustre", "fuse.sshfs"):
        yield Finding(
            "disk",
            "warning",
            f"the embedded database is on a network file system ({kind})",
            "put the data root on a local disk, or use a MongoDB server",
        )


def _file_system(path: Path) -> str:
    """Type of the file system of a folder; empty off Linux."""
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    inside = []
    for line in mounts:
        _, place, kind, *_ = line.split()
        if path.resolve().is_relative_to(place.replace("\\040", " ")):
            inside.append((len(place), kind))
    return max(inside)[1] if inside else ""
