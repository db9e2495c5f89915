"""A scan in an open HDF5 file of the h5ebsd family, whatever the vendor calls things."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ebsdsg_ml.experimental.scan import (
    Geometry,
    PatternFileError,
    PhaseName,
    Scan,
)
from ebsdsg_sim.orientation import euler_to_quaternion


def plain_value(item: h5py.Dataset) -> Any:
    """Value of a dataset: text as str, one number as such, else an array."""
    value = item[()]
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.names is None:
        value = value.reshape(())[()]
    if isinstance(value, bytes):
        return _text(value).rstrip("\0")
    return value


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        whole = value[: error.start]
        if error.reason == "unexpected end of data" and not whole.isascii():
            return whole.decode("utf-8")  # orix keeps as many bytes as the text has letters, plus 1
        return value.decode("latin-1")  # as older programs on Windows write it


@dataclass(frozen=True)
class Source:
    """A scan of an open file."""

    path: Path
    name: str
    scan: h5py.Group
    remarks: tuple[str, ...]
    several: bool

    def value(self, where: str, default: Any = None) -> Any:
        """Value at a path below the scan; the default if it is not there."""
        item = self.scan.get(where)
        return plain_value(item) if isinstance(item, h5py.Dataset) else default

    def number(self, where: str) -> float | None:
        """A finite number, or None."""
        value = self.value(where)
        if value is None or np.size(value) != 1:
            return None
        number = float(value)
        return number if np.isfinite(number) else None

    def per_pattern(self, n: int, **names: str) -> dict[str, np.ndarray]:
        """Those of some columns of ``EBSD/Data`` that hold one number per pattern."""
        found = {}
        for column, name in names.items():
            item = self.scan.get(f"EBSD/Data/{name}")
            if isinstance(item, h5py.Dataset) and item.size == n and item.dtype.kind in "iuf":
                found[column] = item[()].reshape(n).astype(np.float64)
        return found

    def patterns(self, name: str) -> tuple[tuple[int, int, int], Callable[..., np.ndarray]]:
        """Shape (n, rows, columns) of a dataset of patterns, and its lazy reader."""
        where = f"EBSD/Data/{name}"
        item = self.scan.get(where)
        if not isinstance(item, h5py.Dataset) or item.ndim not in (3, 4):
            raise PatternFileError(
                f"{self.path}: no patterns at {self.name}/{where}; store them when exporting"
            )
        if item.dtype.kind not in "iuf":
            raise PatternFileError(f"{self.path}: patterns of type {item.dtype} are not images")
        rows, columns = (int(k) for k in item.shape[-2:])
        n = int(np.prod(item.shape[:-2]))
        for side, count in (("height", rows), ("width", columns)):
            for key in (f"Pattern {side.title()}", f"Pattern{side.title()}", f"pattern_{side}"):
                stated = self.number(f"EBSD/Header/{key}")
                if stated is not None and round(stated) != count:
                    raise PatternFileError(
                        f"{self.path} is damaged: patterns are {rows} x {columns} pixels, its "
                        f"header says {side} {stated:g}"
                    )
        address, across = f"{self.name}/{where}", item.shape[1] if item.ndim == 4 else 0

        def read(numbers: Sequence[int] | np.ndarray) -> np.ndarray:
            wanted = np.asarray(numbers, dtype=np.int64)
            with h5py.File(self.path, "r") as file:
                stored = file[address]
                if across:
                    return np.stack([stored[i // across, i % across] for i in wanted])
                unique, inverse = np.unique(wanted, return_inverse=True)
                return np.asarray(stored[unique])[inverse]

        return (n, rows, columns), read

    def background(self, name: str, shape: tuple[int, ...]) -> np.ndarray | None:
        """Static background of the header, if it fits and is not blank."""
        value = self.value(f"EBSD/Header/{name}")
        if not isinstance(value, np.ndarray) or value.shape != shape[1:]:
            return None
        return value if value.max() > value.min() else None

    def phases(self, where: str, names: Sequence[str], groups: Sequence[str]) -> dict[int, Any]:
        """Phases below a group of the header, by the number that the file gives them.

        A negative number is none: kikuchipy calls -1 ``not_indexed``.
        """
        found: dict[int, PhaseName] = {}
        for key, item in self.scan.get(where, {}).items():
            if not isinstance(item, h5py.Group) or not key.isdigit():
                continue
            name = next((str(plain_value(item[k])) for k in names if k in item), "")
            stated = [plain_value(item[k]) for k in groups if k in item]
            numbers = [int(v) for v in stated if not isinstance(v, (str, np.ndarray))]
            number = next((v for v in numbers if 1 <= v <= 230), None)
            if name.strip() or number:
                found[int(key)] = PhaseName(name.strip(), number)
        return found

    def scan_of(
        self,
        kind: str,
        patterns: tuple[tuple[int, int, int], Callable[..., np.ndarray]],
        pc: tuple[np.ndarray | None, str | None],
        phases: dict[int, PhaseName],
        phase_ids: np.ndarray | None,
        euler: np.ndarray | None,
        geometry: dict[str, Any],
        **others: Any,
    ) -> Scan:
        """Put together what all vendors have."""
        shape, read = patterns
        n = shape[0]
        order = sorted(phases)
        index = np.full(n, -1, dtype=np.int32)
        if phase_ids is not None and len(phase_ids) == n:
            for row, number in enumerate(order):
                index[phase_ids == number] = row
        elif len(order) == 1:
            index[:] = 0
        quaternions = None
        if euler is not None and euler.shape == (n, 3) and np.isfinite(euler).any():
            quaternions = np.full((n, 4), np.nan)
            # what was not indexed has no phase; some vendors write zeros or 4 pi there
            good = np.isfinite(euler).all(axis=1) & (np.abs(euler) <= 360.001).all(axis=1)
            if phase_ids is not None and len(phase_ids) == n and order:
                good &= index >= 0
            quaternions[good] = euler_to_quaternion(euler[good])
        if quaternions is None:
            others["frame"] = ""
        remarks = (*self.remarks, *others.pop("remarks", ()), *([pc[1]] if pc[1] else []))
        return Scan(
            self.path,
            kind,
            shape,
            read,
            group=self.name if self.several else "",
            geometry=Geometry(pc=pc[0], **geometry),
            phases=tuple(phases[k] for k in order),
            phase=index,
            quaternions=quaternions,
            remarks=remarks,
            **others,
        )
