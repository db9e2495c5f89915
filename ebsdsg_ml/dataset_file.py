"""The file of a data set: its layout, its verification and how it is opened.

The HDF5 file holds ``patterns`` (N, H, W) uint8, chunked and compressed; ``quaternions`` (N, 4);
``phase`` (N) row in the table of phases; ``label`` (N) space-group number; ``fold`` (N);
``number`` (N) within the phase; the group ``phases`` with one row per phase; and, as attributes,
the recipe (JSON), the layout's version, the code version and the content's digest, which is
written last and checked by :func:`open_dataset`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from ebsdsg_ml.recipe import DatasetRecipe

if TYPE_CHECKING:
    from ebsdsg_ml.pattern_source import PatternSource

FORMAT = "ebsdsg data set"
LAYOUT_VERSION = 1
PER_PATTERN = ("patterns", "quaternions", "phase", "label", "fold", "number")
PHASE_TABLE = ("id", "formula", "true", "relabelled", "fold", "n_patterns", "sha256", "prototype")
try:
    CODE_VERSION = version("ebsdsg")
except PackageNotFoundError:  # a source tree on the path that was never installed
    CODE_VERSION = "not installed"


class DatasetError(ValueError):
    """A data set or one of its sources is missing, incomplete, changed or of another kind."""


def create(
    file: h5py.File,
    recipe: DatasetRecipe,
    chosen: Mapping[str, PatternSource],
    labels: Mapping[str, int],
    folds: Mapping[str, int],
    counts: Mapping[str, int],
) -> None:
    """Lay out an empty data set: everything but patterns and orientations is filled in.

    Parameters
    ----------
    file : open for writing.
    recipe : the recipe.
    chosen, labels, folds, counts : by phase id: source, class, fold, number of patterns; in the
        order in which patterns are stored.
    """
    n, size = sum(counts.values()), recipe.size
    phases = list(chosen)
    # about 64 KiB per chunk: small enough for shuffled reading, large enough for compression
    chunk = max(1, min(n, 65536 // (size * size)))
    file.attrs["format"] = FORMAT
    file.attrs["layout_version"] = LAYOUT_VERSION
    file.attrs["code_version"] = CODE_VERSION
    file.attrs["recipe"] = json.dumps(recipe.to_dict(), sort_keys=True)
    file.create_dataset(
        "patterns",
        (n, size, size),
        np.uint8,
        chunks=(chunk, size, size),
        compression="gzip",
        compression_opts=1,
        shuffle=False,
    )
    file.create_dataset("quaternions", (n, 4), np.float64)
    row = np.repeat(np.arange(len(phases)), [counts[p] for p in phases])
    file["phase"] = row.astype(np.int32)
    file["label"] = np.array([labels[p] for p in phases], np.int32)[row]
    file["fold"] = np.array([folds[p] for p in phases], np.int32)[row]
    file["number"] = np.concatenate([np.arange(counts[p], dtype=np.int32) for p in phases])
    table = file.create_group("phases")
    text = h5py.string_dtype()
    table.create_dataset("id", data=phases, dtype=text)
    table.create_dataset("formula", data=[s.formula for s in chosen.values()], dtype=text)
    for kind in ("true", "relabelled"):
        table[kind] = np.array([s.labels.get(kind) or 0 for s in chosen.values()], np.int32)
    table["fold"] = np.array([folds[p] for p in phases], np.int32)
    table["n_patterns"] = np.array([counts[p] for p in phases], np.int32)
    table.create_dataset("sha256", data=[s.sha256 for s in chosen.values()], dtype=text)
    table.create_dataset("prototype", data=[s.prototype or "" for s in chosen.values()], dtype=text)


def content_sha256(file: h5py.File) -> str:
    """Digest of everything a data set says, independent of chunks and compression."""
    digest = hashlib.sha256()
    digest.update(str(file.attrs["recipe"]).encode())
    for name in PER_PATTERN:
        array = file[name]
        digest.update(f"{name}{array.shape}{array.dtype}".encode())
        step = max(1, (16 << 20) // max(1, array.dtype.itemsize * int(np.prod(array.shape[1:]))))
        for start in range(0, array.shape[0], step):
            digest.update(np.ascontiguousarray(array[start : start + step]).tobytes())
    for name in PHASE_TABLE:
        digest.update(json.dumps([name, _plain(file["phases"][name])]).encode())
    return digest.hexdigest()


def seal(file: h5py.File) -> None:
    """Write the content's digest: the last thing written, without which a file is incomplete."""
    file.attrs["content_sha256"] = content_sha256(file)


def _plain(array: h5py.Dataset) -> list[Any]:
    values = array[...]
    if values.dtype.kind == "O":
        return [v.decode() if isinstance(v, bytes) else str(v) for v in values]
    return [v.item() for v in values]


class OpenDataset:
    """An open data set; made by :func:`open_dataset`, closed by ``with`` or :meth:`close`.

    Attributes
    ----------
    path : the file.
    recipe : the recipe it was made by.
    content_sha256 : digest of its content.
    patterns : (N, H, W) uint8, on disk (an :class:`h5py.Dataset`).
    quaternions : (N, 4) float64.
    phase, label, fold, number : (N,) int32.
    phases : the table of phases, one dictionary per row.
    """

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path = path
        self._file = file
        self.recipe = DatasetRecipe.from_dict(json.loads(str(file.attrs["recipe"])))
        self.code_version = str(file.attrs["code_version"])
        self.content_sha256 = str(file.attrs["content_sha256"])
        self.patterns: h5py.Dataset = file["patterns"]
        self.quaternions: np.ndarray = file["quaternions"][...]
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
        h, w = self.patterns.shape[1:]
        return (
            f"<data set {self.path.name}: {len(self)} patterns {h}x{w}, {len(self.phases)} phases, "
            f"{self.recipe.label} groups {self.recipe.class_numbers}, {self.recipe.n_folds} folds>"
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
        except (OSError, KeyError, ValueError) as error:
            raise DatasetError(f"{path} is damaged: {error}") from error
        if found != opened.content_sha256:
            raise DatasetError(
                f"{path} was changed: its content has sha256 {found[:12]}…, it was sealed with "
                f"{opened.content_sha256[:12]}…; build it again"
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
    missing = [n for n in PER_PATTERN if n not in file] + [
        f"phases/{n}" for n in PHASE_TABLE if f"phases/{n}" not in file
    ]
    if missing:
        raise DatasetError(f"{path} lacks {', '.join(missing)}")
    lengths = {n: file[n].shape[0] for n in PER_PATTERN}
    if len(set(lengths.values())) != 1:
        raise DatasetError(f"{path} is damaged: lengths differ, {lengths}")
