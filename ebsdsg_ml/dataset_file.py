"""The file of a data set: its layout, its verification and how it is opened.

The HDF5 file holds, per pattern, ``phase`` (N) row in the table of phases, ``label`` (N)
space-group number, ``fold`` (N) and ``number`` (N) within the phase; the group ``phases`` with one
row per phase and set; and, as attributes, the recipe (JSON), the layout's version, the code version
and the content's digest, which is written last and checked by :func:`open_dataset`.  Stored
patterns are in ``patterns`` (N, H, W) uint8 and ``quaternions`` (N, 4); a data set whose patterns
are made on the fly holds prepared maps instead (:mod:`ebsdsg_ml.pattern_bank`).
"""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ebsdsg_ml.dataset_plan import DatasetPlan
from ebsdsg_ml.pattern_source import DatasetError
from ebsdsg_ml.recipe import DatasetRecipe

FORMAT = "ebsdsg data set"
LAYOUT_VERSION = 2
PER_PATTERN = ("phase", "label", "fold", "number")
TEXT = ("id", "set", "formula", "sha256", "prototype", "content")
NUMBERS = ("true", "relabelled", "fold", "n_patterns")
PHASE_TABLE = (*TEXT, *NUMBERS)
"""Columns of the table of phases; ``sha256`` is the master pattern's, ``content`` the digest of the
phase's patterns (or maps), empty until they are written."""
try:
    CODE_VERSION = version("ebsdsg")
except PackageNotFoundError:  # a source tree on the path that was never installed
    CODE_VERSION = "not installed"


def create(file: h5py.File, plan: DatasetPlan, *, compression: str | None = "gzip") -> None:
    """Lay out an empty data set: everything but patterns and orientations is filled in.

    Parameters
    ----------
    file : open for writing.
    plan : what it is to hold.
    compression : of the patterns: ``"gzip"``, or None for a file that can be memory-mapped.
    """
    recipe, phases = plan.recipe, plan.phases
    n, size = plan.n_patterns, recipe.size
    file.attrs["format"] = FORMAT
    file.attrs["layout_version"] = LAYOUT_VERSION
    file.attrs["code_version"] = CODE_VERSION
    file.attrs["begun_for"] = _begun_for(plan, compression)
    file.attrs["recipe"] = json.dumps(recipe.to_dict(), sort_keys=True)
    if recipe.generation == "stored":
        # about 64 KiB per chunk: small enough for shuffled reading, large enough for compression
        chunk = max(1, min(n, 65536 // (size * size)))
        packed: dict[str, Any] = {"chunks": (chunk, size, size), "compression": compression}
        if compression == "gzip":
            packed["compression_opts"] = 1
        file.create_dataset(
            "patterns", (n, size, size), np.uint8, **(packed if compression else {})
        )
        file.create_dataset("quaternions", (n, 4), np.float64)
    shares = [p.n_patterns for p in phases]
    row = np.repeat(np.arange(len(phases)), shares)
    file["phase"] = row.astype(np.int32)
    file["label"] = np.array([p.label for p in phases], np.int32)[row]
    file["fold"] = np.array([p.fold for p in phases], np.int32)[row]
    file["number"] = np.concatenate([np.arange(k, dtype=np.int32) for k in shares])
    table = file.create_group("phases")
    columns: dict[str, list[Any]] = {
        "id": [p.source.phase for p in phases],
        "set": [p.set for p in phases],
        "formula": [p.source.formula for p in phases],
        "sha256": [p.source.sha256 for p in phases],
        "prototype": [p.source.prototype or "" for p in phases],
        "content": [""] * len(phases),
        "true": [p.source.labels.get("true") or 0 for p in phases],
        "relabelled": [p.source.labels.get("relabelled") or 0 for p in phases],
        "fold": [p.fold for p in phases],
        "n_patterns": shares,
    }
    for name in TEXT:
        # digests are written later, in place
        kind = "S64" if name == "content" else h5py.string_dtype()
        table.create_dataset(name, data=columns[name], dtype=kind)
    for name in NUMBERS:
        table[name] = np.array(columns[name], np.int32)


def phase_digest(file: h5py.File, row: int) -> str:
    """Digest of what a file holds of one phase: patterns and orientations, or maps."""
    digest = hashlib.sha256()
    if "patterns" in file:
        counts = file["phases/n_patterns"][...]
        start = int(counts[:row].sum())
        parts = [
            file[name][start : start + int(counts[row])] for name in ("patterns", "quaternions")
        ]
    else:
        group = file[f"maps/{row}"]
        parts = [group[name][...] for name in sorted(group)]
    for part in parts:
        digest.update(f"{part.shape}{part.dtype}".encode())
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def finish_phase(file: h5py.File, row: int) -> None:
    """Write the digest of a phase that is complete, and all of it to the disk's care."""
    file["phases/content"][row] = phase_digest(file, row).encode()
    file.flush()


def is_whole(file: h5py.File, row: int) -> bool:
    """Tell whether a phase of an unfinished file was written completely and can be read back."""
    recorded = file["phases/content"][row].decode()
    try:
        return bool(recorded) and phase_digest(file, row) == recorded
    except (OSError, KeyError):
        return False


def is_of(file: h5py.File, plan: DatasetPlan, compression: str | None) -> bool:
    """Tell whether an unfinished file was begun by this program for the same plan."""
    return file.attrs.get("begun_for") == _begun_for(plan, compression)


def _begun_for(plan: DatasetPlan, compression: str | None) -> str:
    return json.dumps([CODE_VERSION, LAYOUT_VERSION, compression, plan.sha256()])


def content_sha256(file: h5py.File) -> str:
    """Digest of everything a data set says, independent of chunks and compression.

    The digests of the phases' patterns stand for the patterns; :func:`open_dataset` with
    ``verify=True`` compares those with the patterns themselves.
    """
    digest = hashlib.sha256()
    recipe = DatasetRecipe.from_dict(json.loads(str(file.attrs["recipe"])))
    digest.update(json.dumps(recipe.content(), sort_keys=True).encode())
    for name in PER_PATTERN:
        array = file[name][...]
        digest.update(f"{name}{array.shape}{array.dtype}".encode())
        digest.update(array.tobytes())
    for name in PHASE_TABLE:
        digest.update(json.dumps([name, _plain(file["phases"][name])]).encode())
    return digest.hexdigest()


def seal(file: h5py.File) -> None:
    """Write the content's digest: the last thing written, without which a file is incomplete."""
    file.attrs["content_sha256"] = content_sha256(file)


def _plain(array: h5py.Dataset) -> list[Any]:
    values = array[...]
    if values.dtype.kind in "OS":
        return [v.decode() if isinstance(v, bytes) else str(v) for v in values]
    return [v.item() for v in values]


class OpenDataset:
    """An open data set; made by :func:`open_dataset`, closed by ``with`` or :meth:`close`.

    Attributes
    ----------
    path : the file.
    recipe : the recipe it was made by.
    content_sha256 : digest of its content.
    patterns : (N, H, W) uint8, on disk (an :class:`h5py.Dataset`); None when made on the fly.
    quaternions : (N, 4) float64, or None likewise.
    phase, label, fold, number : (N,) int32; fold :data:`ebsdsg_ml.splits.TEST` is the test set.
    phases : the table of phases, one dictionary per row.
    """

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path = path
        self._file = file
        self.recipe = DatasetRecipe.from_dict(json.loads(str(file.attrs["recipe"])))
        self.code_version = str(file.attrs["code_version"])
        self.content_sha256 = str(file.attrs["content_sha256"])
        self.patterns: h5py.Dataset | None = file.get("patterns")
        self.quaternions: np.ndarray | None = (
            file["quaternions"][...] if "quaternions" in file else None
        )
        self.phase: np.ndarray = file["phase"][...]
        self.label: np.ndarray = file["label"][...]
        self.fold: np.ndarray = file["fold"][...]
        self.number: np.ndarray = file["number"][...]
        columns = {name: _plain(file["phases"][name]) for name in PHASE_TABLE}
        self.phases: list[dict[str, Any]] = [
            dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
        ]

    def __len__(self) -> int:
        return len(self.label)

    def __repr__(self) -> str:
        """One line: size, patterns, classes, folds."""
        size = self.recipe.size
        return (
            f"<data set {self.path.name}: {len(self)} {self.recipe.generation} patterns "
            f"{size}x{size}, {len(self.phases)} phases, {self.recipe.label} groups "
            f"{self.recipe.class_numbers}, {self.recipe.n_folds} folds>"
        )

    @property
    def class_index(self) -> np.ndarray:
        """(N,) position of every pattern's label in the recipe's classes."""
        return np.searchsorted(np.array(self.recipe.class_numbers), self.label)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> OpenDataset:
        """Return the open data set."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()


def open_dataset(path: str | Path, *, verify: bool = False) -> OpenDataset:
    """Open a data set for reading.

    Parameters
    ----------
    path : file written by :func:`ebsdsg_ml.datasets.build_dataset`.
    verify : read all of it and compare with the digest it was sealed with.

    Raises
    ------
    DatasetError
        If the file is missing, truncated, incomplete, changed, or not a data set of this layout.
    """
    path = Path(path)
    if not path.is_file():
        raise DatasetError(f"data set {path} does not exist")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DatasetError(f"{path} is not a readable HDF5 file (truncated?): {error}") from error
    try:
        _check_layout(path, file)
        try:
            opened = OpenDataset(path, file)
            found = content_sha256(file) if verify else opened.content_sha256
            changed = [
                row["id"]
                for i, row in enumerate(opened.phases)
                if verify and phase_digest(file, i) != row["content"]
            ]
        except (OSError, KeyError, ValueError) as error:
            raise DatasetError(f"{path} is damaged: {error}") from error
        if found != opened.content_sha256:
            raise DatasetError(
                f"{path} was changed: its content has sha256 {found[:12]}…, it was sealed with "
                f"{opened.content_sha256[:12]}…; build it again"
            )
        if changed:
            raise DatasetError(
                f"{path} was changed: the patterns of {', '.join(changed)} are not those it was "
                "sealed with; build it again"
            )
    except BaseException:
        file.close()
        raise
    return opened


def _check_layout(path: Path, file: h5py.File) -> None:
    if file.attrs.get("format") != FORMAT:
        raise DatasetError(f"{path} is an HDF5 file but not an ebsdsg data set")
    layout = file.attrs.get("layout_version")
    if layout != LAYOUT_VERSION:
        raise DatasetError(
            f"{path} has layout version {layout}, this program reads {LAYOUT_VERSION}; build the "
            "data set again with this version"
        )
    if "content_sha256" not in file.attrs:
        raise DatasetError(f"{path} is incomplete: it was never sealed; build it again")
    stored = ("maps",) if "maps" in file else ("patterns", "quaternions")
    missing = [n for n in (*PER_PATTERN, *stored) if n not in file] + [
        f"phases/{n}" for n in PHASE_TABLE if f"phases/{n}" not in file
    ]
    if missing:
        raise DatasetError(f"{path} lacks {', '.join(missing)}")
    lengths = {n: file[n].shape[0] for n in (*PER_PATTERN, *stored) if n != "maps"}
    if len(set(lengths.values())) != 1:
        raise DatasetError(f"{path} is damaged: lengths differ, {lengths}")
