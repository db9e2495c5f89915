"""Experimental patterns with all that is known of them, in memory and in a file.

The file is of the family of the simulated data sets (:mod:`ebsdsg_ml.dataset_file`): ``patterns``
(N, size, size) uint8; ``label`` (N) true space group, 0 where it is not known; ``phase`` (N) row
in the table of phases, -1 for none; ``number`` (N) in the file it came from; ``quaternions``
(N, 4), NaN where not known.  Besides, ``source`` (N) row in the table of files, ``quality`` (N),
and ``pc`` (N, 3), the pattern centre of the *stored* square in Bruker's convention, NaN where not
known.  The digest of all is written last.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ebsdsg_ml.dataset_file import CODE_VERSION
from ebsdsg_ml.experimental.scan import PatternFileError

FORMAT = "ebsdsg experimental patterns"
LAYOUT_VERSION = 1
COLUMNS = ("source", "number", "phase", "label", "quality", "quaternions", "pc")
TABLES = ("processing", "quality_definition", "sources", "phases", "selection")
CHUNK = 256
"""Patterns copied or digested at once."""


def patterns_sha256(patterns: np.ndarray) -> str:
    """Digest of the pixels, by which a model's file knows again what it was adapted to."""
    return hashlib.sha256(patterns.tobytes()).hexdigest()


@dataclass(frozen=True)
class PatternSet:
    """Processed patterns and what is known of each.

    Parameters
    ----------
    patterns : (n, size, size) uint8; (0, size, size) when only the rest was read.
    source : (n,) row of each pattern in `sources`.
    number : (n,) place of each pattern in its file.
    phase : (n,) row in `phases`, -1 when nothing is known.
    label : (n,) number of the true space group, 0 when not known.
    quality : (n,) Krieger Lassen's image quality, as `quality_definition` says.
    quaternions : (n, 4) orientations as the file gives them, NaN where it does not.
    pc : (n, 3) pattern centre of the stored square, Bruker's convention, NaN where not known.
    extra : other numbers per pattern, (n,) each, NaN where not known.
    processing : entries of :class:`ebsdsg_ml.experimental.processing.PatternProcessing`.
    quality_definition : entries of :class:`ebsdsg_ml.quality.QualityDefinition`.
    sources : one row per file: path, sha256, kind, geometry, microscope, the phase it names and
        the phase given, source, licence, remarks.
    phases : one row per phase: name and space group as used, given, and in the file; its relabelled
        group where that was given.
    selection : how the patterns were chosen from another set; empty for all of their files.
    """

    patterns: np.ndarray
    source: np.ndarray
    number: np.ndarray
    phase: np.ndarray
    label: np.ndarray
    quality: np.ndarray
    quaternions: np.ndarray
    pc: np.ndarray
    extra: dict[str, np.ndarray]
    processing: dict[str, Any]
    quality_definition: dict[str, Any]
    sources: list[dict[str, Any]]
    phases: list[dict[str, Any]]
    selection: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.source)

    def __repr__(self) -> str:
        size = self.processing["size"]
        return (
            f"<{len(self)} experimental patterns {size}x{size} of {len(self.sources)} file(s), "
            f"{int((self.label > 0).sum())} labelled>"
        )

    def _repr_html_(self) -> str:
        from ebsdsg_ml.cards import patterns_card

        return patterns_card(self)

    def names(self) -> list[str]:
        """Name of every pattern: its file, and its number where the file has several."""
        return [
            Path(row["path"]).name + (f" #{number}" if row["n_patterns"] > 1 else "")
            for row, number in zip(
                (self.sources[i] for i in self.source), self.number.tolist(), strict=True
            )
        ]

    def phase_names(self) -> list[str]:
        """Phase of every pattern, empty where it is not known."""
        return ["" if i < 0 else self.phases[i]["name"] for i in self.phase]

    def groups(self, kind: str) -> np.ndarray:
        """(n,) space-group number of every pattern's phase, 0 where it is not known.

        Parameters
        ----------
        kind : the ``"true"`` group, or the ``"relabelled"`` one, which no vendor's file tells.
        """
        if kind == "true":
            return self.label
        numbers = [row.get("relabelled") or 0 for row in self.phases]
        return np.array([*numbers, 0], dtype=np.int32)[self.phase]  # row -1: no phase

    def taken(self, rows: np.ndarray, selection: dict[str, Any]) -> PatternSet:
        """Some of the patterns; the tables stay whole, so that rows in them stay valid.

        Parameters
        ----------
        rows : which, in the order wanted.
        selection : how they were chosen.
        """
        columns = {name: getattr(self, name)[rows] for name in COLUMNS}
        stored = self.patterns[rows] if len(self.patterns) else self.patterns
        extra = {name: values[rows] for name, values in self.extra.items()}
        return replace(self, patterns=stored, extra=extra, selection=selection, **columns)

    def content_sha256(self) -> str:
        """Digest of patterns and all that is said of them; paths of files do not enter."""
        return _digest(self, _chunks(self.patterns))


def _chunks(patterns: Any) -> Iterator[np.ndarray]:
    for start in range(0, len(patterns), CHUNK):
        yield patterns[start : start + CHUNK]


def _digest(held: PatternSet, patterns: Iterator[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for part in patterns:
        digest.update(np.ascontiguousarray(part).tobytes())
    for name in COLUMNS:
        array = np.ascontiguousarray(getattr(held, name))
        digest.update(f"{name}{array.shape}{array.dtype}".encode() + array.tobytes())
    for name in sorted(held.extra):
        digest.update(name.encode() + np.ascontiguousarray(held.extra[name]).tobytes())
    plain = [[{k: v for k, v in row.items() if k != "path"} for row in held.sources]]
    plain += [getattr(held, name) for name in TABLES if name != "sources"]
    digest.update(json.dumps(plain, sort_keys=True).encode())
    return digest.hexdigest()


class Writer:
    """Writes the patterns of a set as they come, and all else at the end.

    Parameters
    ----------
    file : open for writing.
    size : pixels per side.
    """

    def __init__(self, file: h5py.File, size: int) -> None:
        self.file = file
        chunk = max(1, 65536 // (size * size))
        self.patterns = file.create_dataset(
            "patterns",
            (0, size, size),
            np.uint8,
            maxshape=(None, size, size),
            chunks=(chunk, size, size),
            compression="gzip",
            compression_opts=1,
        )

    def add(self, patterns: np.ndarray) -> None:
        """Append (k, size, size) uint8 patterns."""
        n = len(self.patterns)
        self.patterns.resize(n + len(patterns), axis=0)
        self.patterns[n:] = patterns

    def seal(self, held: PatternSet) -> str:
        """Write all but the patterns, then the digest; returns it."""
        for name in COLUMNS:
            self.file[name] = getattr(held, name)
        extra = self.file.create_group("extra")
        for name, values in held.extra.items():
            extra[name] = values
        for name in TABLES:
            self.file[f"tables/{name}"] = json.dumps(getattr(held, name), sort_keys=True)
        self.file.attrs["format"] = FORMAT
        self.file.attrs["layout_version"] = LAYOUT_VERSION
        self.file.attrs["code_version"] = CODE_VERSION
        sha256 = _digest(held, _chunks(self.patterns))
        self.file.attrs["content_sha256"] = sha256
        return sha256


def read_pattern_set(
    path: str | Path, *, patterns: bool = True, verify: bool = False
) -> PatternSet:
    """Read a file of experimental patterns.

    Parameters
    ----------
    path : file written by :func:`ebsdsg_ml.experimental.read.import_patterns` or
        :func:`write_selection`.
    patterns : also read the patterns themselves.
    verify : read all and compare with the digest.

    Raises
    ------
    PatternFileError
        If the file is missing, truncated, changed, or no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise PatternFileError(f"pattern set {path} does not exist")
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT:
                raise PatternFileError(
                    f"{path} is not a set of experimental patterns: make one with `ebsdsg patterns "
                    "import`"
                )
            if file.attrs.get("layout_version") != LAYOUT_VERSION:
                raise PatternFileError(
                    f"{path} has layout version {file.attrs.get('layout_version')}, this program "
                    f"reads {LAYOUT_VERSION}: import the patterns again"
                )
            stored = file["patterns"]
            held = PatternSet(
                patterns=stored[...] if patterns else np.zeros((0, *stored.shape[1:]), np.uint8),
                extra={name: values[...] for name, values in file["extra"].items()},
                **{name: file[name][...] for name in COLUMNS},
                **{name: json.loads(file[f"tables/{name}"][()]) for name in TABLES},
            )
            lengths = {len(stored), *(len(getattr(held, name)) for name in COLUMNS)}
            if len(lengths) != 1 or not len(held):
                raise PatternFileError(f"{path} is damaged: its columns differ in length")
            if verify and _digest(held, _chunks(stored)) != file.attrs["content_sha256"]:
                raise PatternFileError(f"{path} was changed: import the patterns again")
    except PatternFileError:
        raise
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise PatternFileError(f"{path} is truncated or damaged: {error}") from error
    return held


def is_pattern_set(path: str | Path) -> bool:
    """Whether a file is a set of experimental patterns."""
    try:
        with h5py.File(path, "r") as file:
            return bool(file.attrs.get("format") == FORMAT)
    except OSError:
        return False


def stored_patterns(path: str | Path, rows: Sequence[int] | np.ndarray) -> np.ndarray:
    """Some patterns of a file, (k, size, size) uint8, in the order asked for."""
    with h5py.File(path, "r") as file:
        unique, inverse = np.unique(np.asarray(rows, dtype=np.int64), return_inverse=True)
        return np.asarray(file["patterns"][unique])[inverse]


def write_selection(
    path: str | Path,
    output: str | Path,
    rows: np.ndarray,
    selection: dict[str, Any],
) -> PatternSet:
    """Write some patterns of a file to a file of their own.

    Parameters
    ----------
    path : file to choose from.
    output : file to write.
    rows : which patterns, ascending.
    selection : how they were chosen, kept in the file with the digest of `path`.

    Returns
    -------
    What was written, without the patterns.
    """
    from ebsdsg_sim.atomic_file import new_file

    whole = read_pattern_set(path, patterns=False)
    with h5py.File(path, "r") as file:
        digest = str(file.attrs["content_sha256"])
    earlier = {"earlier": whole.selection} if whole.selection else {}
    chosen = whole.taken(rows, {**selection, "of": digest, **earlier})
    with new_file(output) as temporary:
        with h5py.File(temporary, "w") as file:
            writer = Writer(file, whole.processing["size"])
            for start in range(0, len(rows), CHUNK):
                writer.add(stored_patterns(path, rows[start : start + CHUNK]))
            writer.seal(chosen)
        read_pattern_set(temporary, patterns=False, verify=True)
    return chosen
