"""From vendors' files to processed patterns, in memory or in a file; no database is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from ebsdsg_ml.experimental.given import Given, PatternTable
from ebsdsg_ml.experimental.open_scan import open_scan, pattern_files
from ebsdsg_ml.experimental.pattern_set import (
    COLUMNS,
    PatternSet,
    Writer,
    is_pattern_set,
    read_pattern_set,
)
from ebsdsg_ml.experimental.processing import PatternProcessing, centred_square
from ebsdsg_ml.experimental.scan import PatternFileError, PhaseName, Scan
from ebsdsg_ml.pattern_source import file_sha256
from ebsdsg_ml.quality import QualityDefinition

BATCH_PIXELS = 1 << 25
"""Pixels of unprocessed patterns held at once."""


def read_patterns(
    paths: str | Path | Iterable[str | Path],
    *,
    processing: PatternProcessing | None = None,
    given: Given | None = None,
    group: str | None = None,
    quality_mask: float | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> PatternSet:
    """Processed square patterns of files or folders, with quality and all that is known of them.

    Parameters
    ----------
    paths : a file, a folder (its files with known suffixes), or several; a file written by
        :func:`import_patterns`, alone, is read as it is.
    processing : steps from camera image to stored pattern; the default corrects the background and
        makes 229 x 229 pixels.  :meth:`PatternProcessing.like` follows a training set.
    given : a user's word on phase, geometry, source and licence.
    group : scan within an HDF5 file.
    quality_mask : radius of the circle whose quality is measured, in fractions of the side.
    progress : called after each batch with patterns done, patterns in all, and the file at work.

    Returns
    -------
    The patterns that show anything, in the order of the files; blank ones are counted in the
    remarks of their file.

    Raises
    ------
    PatternFileError
        At the first file that cannot be used, or if a file written by this program was processed in
        another way than asked for.
    """
    listed = [paths] if isinstance(paths, (str, Path)) else list(paths)
    if len(listed) == 1 and Path(listed[0]).is_file() and is_pattern_set(listed[0]):
        stored = read_pattern_set(listed[0])
        if processing is not None and processing.to_dict() != stored.processing:
            raise PatternFileError(
                f"{listed[0]} was processed as {stored.processing}, asked for is "
                f"{processing.to_dict()}: import the original files again, with --like the data "
                "set or model file"
            )
        return stored
    parts: list[np.ndarray] = []
    processing = processing or PatternProcessing()
    held = _gather(listed, processing, given, group, quality_mask, progress, parts.append)
    return replace(held, patterns=np.concatenate(parts))


def import_patterns(
    paths: str | Path | Iterable[str | Path],
    output: str | Path,
    *,
    processing: PatternProcessing | None = None,
    given: Given | None = None,
    group: str | None = None,
    quality_mask: float | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> PatternSet:
    """Write processed patterns of files or folders to one HDF5 file, a batch at a time.

    Parameters
    ----------
    output : file to write; it appears when it is whole and has been read back.
    paths, processing, given, group, quality_mask, progress : as for :func:`read_patterns`.

    Returns
    -------
    What was written, without the patterns.

    Raises
    ------
    PatternFileError
        At the first file that cannot be used; nothing is written then.
    """
    import h5py

    from ebsdsg_sim.atomic_file import new_file

    listed = [paths] if isinstance(paths, (str, Path)) else list(paths)
    processing = processing or PatternProcessing()
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    with new_file(output) as temporary:
        with h5py.File(temporary, "w") as file:
            writer = Writer(file, processing.size)
            held = _gather(listed, processing, given, group, quality_mask, progress, writer.add)
            writer.seal(held)
        read_pattern_set(temporary, patterns=False, verify=True)
    return held


def _gather(
    paths: Sequence[str | Path],
    processing: PatternProcessing,
    given: Given | None,
    group: str | None,
    quality_mask: float | None,
    progress: Callable[[int, int, str], None] | None,
    store: Callable[[np.ndarray], None],
) -> PatternSet:
    """Process all files, hand the patterns to `store`, and return the rest."""
    import torch

    given = given or Given()
    files = pattern_files(paths)
    table = None if given.table is None else PatternTable(given.table, files)
    original = [open_scan(path, group if _has_groups(path) else None) for path in files]
    if group is not None and not any(scan.group for scan in original):
        _check_group(original, group)
    scans = [given.applied(scan, table) for scan in original]
    definition = QualityDefinition(processing.size, quality_mask)
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    extra_names = sorted({name for scan in scans for name in scan.columns})
    extra: dict[str, list[np.ndarray]] = {name: [] for name in extra_names}
    phases: dict[tuple[Any, ...], int] = {}
    phase_rows: list[dict[str, Any]] = []
    blank: Counter[int] = Counter()
    total, done = sum(len(scan) for scan in scans), 0
    for index, scan in enumerate(scans):
        rows_of = [
            _phase_row(named, given, phases, phase_rows) for named in (*scan.phases, PhaseName())
        ]
        pc = _stored_centres(scan)
        for rows, patterns, shows in processed_batches(scan, processing):
            blank[index] += int((~shows).sum())
            rows, patterns = rows[shows], patterns[shows]
            done += len(shows)
            if progress is not None:
                progress(done, total, scan.path.name)
            if not len(rows):
                continue
            store(patterns)
            named = np.full(len(rows), -1) if scan.phase is None else scan.phase[rows]
            phase = np.array([rows_of[k] for k in named], dtype=np.int32)
            found = {
                "source": np.full(len(rows), index, np.int32),
                "number": rows.astype(np.int32),
                "phase": phase,
                "label": np.array(
                    [(phase_rows[k]["space_group"] or 0) if k >= 0 else 0 for k in phase], np.int32
                ),
                "quality": definition.measure(torch.from_numpy(patterns)).numpy(),
                "quaternions": np.full((len(rows), 4), np.nan)
                if scan.quaternions is None
                else scan.quaternions[rows],
                "pc": pc[rows],
            }
            for name, values in found.items():
                columns[name].append(values)
            for name in extra_names:
                values = scan.columns.get(name)
                extra[name].append(np.full(len(rows), np.nan) if values is None else values[rows])
    if not columns["source"]:
        raise PatternFileError(
            f"all {total} patterns of {files[0]}{' and others' if files[1:] else ''} are blank"
        )
    joined: dict[str, Any] = {name: np.concatenate(parts) for name, parts in columns.items()}
    return PatternSet(
        patterns=np.zeros((0, processing.size, processing.size), np.uint8),
        extra={name: np.concatenate(values) for name, values in extra.items()},
        processing=processing.to_dict(),
        quality_definition=definition.to_dict(),
        sources=[
            _source_row(first, scan, given, processing, blank[i])
            for i, (first, scan) in enumerate(zip(original, scans, strict=True))
        ],
        phases=phase_rows,
        **joined,
    )


def processed_batches(
    scan: Scan, processing: PatternProcessing
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Rows, processed patterns and whether each shows anything, some at a time.

    Raises
    ------
    PatternFileError
        If the file cannot be read to its end.
    """
    step = max(1, min(256, BATCH_PIXELS // (scan.shape[1] * scan.shape[2])))
    for start in range(0, len(scan), step):
        rows = np.arange(start, min(start + step, len(scan)))
        try:
            raw = scan.read(rows)
        except PatternFileError:
            raise
        except (OSError, ValueError, KeyError) as error:
            raise PatternFileError(
                f"{scan.path} cannot be read beyond pattern {start} of {len(scan)} (damaged?): "
                f"{error}"
            ) from error
        yield rows, *processing(raw, scan.static_background, corrected=scan.corrected)


def _has_groups(path: Path) -> bool:
    import h5py

    return bool(h5py.is_hdf5(path))


def _check_group(scans: Sequence[Scan], group: str) -> None:
    if not any(_has_groups(scan.path) for scan in scans):
        raise PatternFileError(f"no file has a scan {group!r}: only HDF5 files have several")


def _stored_centres(scan: Scan) -> np.ndarray:
    """Pattern centre of every stored square, (n, 3), NaN where it is not known."""
    geometry = scan.geometry.cropped(scan.shape[1:], *centred_square(scan.shape[1:]))  # type: ignore[arg-type]
    if geometry.pc is None:
        return np.full((len(scan), 3), np.nan)
    return np.array(np.broadcast_to(geometry.pc, (len(scan), 3)))


def _phase_row(
    named: PhaseName,
    given: Given,
    known: dict[tuple[Any, ...], int],
    rows: list[dict[str, Any]],
) -> int:
    """Row in the table of phases of a phase as a file names it, -1 if nothing is known."""
    row = {
        "name": given.phase or named.name,
        # another phase's group must not be kept under the given name
        "space_group": given.space_group or (None if given.phase else named.space_group),
        "given": {"name": given.phase, "space_group": given.space_group},
        "in_file": {"name": named.name, "space_group": named.space_group},
    }
    if given.relabelled is not None:  # an entry that is not given changes no set's digest
        row["relabelled"] = given.relabelled
    if not row["name"] and row["space_group"] is None:
        return -1
    key = (given.phase, given.space_group, named.name, named.space_group)
    if key not in known:
        known[key] = len(rows)
        rows.append(row)
    return known[key]


def _source_row(
    original: Scan, scan: Scan, given: Given, processing: PatternProcessing, blank: int
) -> dict[str, Any]:
    """What is kept of a file."""
    pc = scan.geometry.pc
    geometry = {k: v for k, v in asdict(scan.geometry).items() if k != "pc" and v is not None}
    geometry = {k: list(v) if isinstance(v, tuple) else v for k, v in geometry.items()}
    if pc is not None and np.isfinite(pc).any():
        geometry["pc_mean"] = np.nanmean(pc, axis=0).tolist()
        geometry["convention"] = "bruker"
    remarks = list(scan.remarks)
    if original.geometry.pc is not None and "pc" in given.geometry:
        stated = np.nanmean(original.geometry.pc, axis=0).round(6).tolist()
        remarks.append(
            f"pattern centre of the file {stated} (Bruker) was replaced by the given one"
        )
    if blank:
        remarks.append(f"{blank} blank pattern(s) left out")
    static = processing.uses_static(scan.static_background, scan.corrected)
    return {
        "path": str(scan.path),
        "sha256": file_sha256(scan.path),
        "bytes": scan.path.stat().st_size,
        "kind": scan.kind,
        "group": scan.group,
        "n_patterns": len(scan),
        "shape": list(scan.shape[1:]),
        "corrected_by_microscope": scan.corrected,
        "static_correction_made": static,
        "geometry": geometry,
        "geometry_given": dict(given.geometry),
        "microscope": {k: v for k, v in asdict(scan.microscope).items() if v not in (None, "")},
        "phases_in_file": [asdict(phase) for phase in scan.phases],
        "orientation_frame": scan.frame,
        "source": given.source,
        "licence": given.licence,
        "background": {}
        if given.background is None
        else {"path": str(given.background), "sha256": file_sha256(given.background)},
        "remarks": remarks,
    }
