"""HDF5 files that somebody sends: whole in themselves, and not larger than they look.

Everything in such a file is chosen by who made it.  It can name other files of this machine, whose
content would come back as a picture; a few kilobytes can unpack to any size, in a data set, in one
chunk of it, or in texts that share their letters.  What is not understood here is refused.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from fastapi import HTTPException

if TYPE_CHECKING:
    import h5py
    import numpy as np

LARGEST_CONTENT = 2**30
"""Bytes that a file may unpack to."""

MOST_LINKS = 10_000
"""Names in a file, and texts of variable length in it; a vendor's has hundreds."""

STEP = 2**20

UNCHECKED = "this HDF5 file has a part that cannot be checked; export it again"
ELSEWHERE = "this HDF5 file refers to other files; send one that is whole"


def check_hdf5(path: Path) -> None:
    """Refuse a file that shows what is in other files, or that unpacks to too much.

    Parameters
    ----------
    path : of the file; one that HDF5 cannot open is left to the reader, who says so.

    Raises
    ------
    HTTPException
        413 if it unpacks to more than :data:`LARGEST_CONTENT` or has too many parts; 422 if it
        refers to other files, or if a part of it cannot be checked.
    """
    import h5py

    try:
        file = h5py.File(path, "r")
    except (OSError, RuntimeError):
        return
    with file:
        try:
            room = _attributes(file, LARGEST_CONTENT)
            for dataset in _datasets(file):
                room -= _bytes(dataset, room)
                if room < 0:
                    _too_large()
                _check_chunks(dataset, path.stat().st_size)
        except HTTPException:
            raise
        except Exception as error:  # h5py raises many types on what it does not know
            raise HTTPException(422, UNCHECKED) from error


def _too_large() -> NoReturn:
    raise HTTPException(
        413, f"this HDF5 file unpacks to more than {LARGEST_CONTENT / 2**30:.0f} GiB"
    )


def _not_taken(what: str) -> NoReturn:
    raise HTTPException(422, f"this HDF5 file has {what}, which is not taken")


def _datasets(file: h5py.File) -> Iterator[h5py.Dataset]:
    """Data sets of a file, one for every name.

    A loop, not HDF5's own visit: that one calls itself for every level, and a small file can have
    a hundred thousand.
    """
    import h5py

    groups, seen, links = [file["/"]], set(), 0
    while groups:
        group = groups.pop()
        address = h5py.h5o.get_info(group.id).addr
        if address in seen:
            continue
        seen.add(address)
        for name in group:
            links += 1
            if links > MOST_LINKS:
                raise HTTPException(413, f"this HDF5 file has more than {MOST_LINKS} parts")
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise HTTPException(422, ELSEWHERE)
            if isinstance(link, h5py.SoftLink):
                continue  # what it leads to has a name of its own
            item = group[name]
            if isinstance(item, h5py.Group):
                groups.append(item)
            elif isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    raise HTTPException(422, ELSEWHERE)
                yield item


def _attributes(file: h5py.File, room: int) -> int:
    """Room that is left after the file's attributes; readers look at no others."""
    for name in file.attrs:
        found = file.attrs.get_id(name)
        if found.dtype.hasobject and math.prod(found.shape) > 1:
            _not_taken("an attribute of several texts")
        room -= math.prod(found.shape) * found.dtype.itemsize
    if room < 0:
        _too_large()
    return room


def _bytes(dataset: h5py.Dataset, room: int) -> int:
    """Bytes that a data set takes in memory, or more than `room`."""
    if dataset.shape is None:
        return 0
    if dataset.dtype.hasobject:
        return _variable_bytes(dataset, room)
    item = max(dataset.dtype.itemsize, dataset.id.get_type().get_size())
    return max(math.prod(dataset.shape), math.prod(dataset.chunks or ())) * item


def _variable_bytes(dataset: h5py.Dataset, room: int) -> int:
    """As :func:`_bytes`, of values of variable length, which may all be the same long one."""
    import h5py
    import numpy as np

    if h5py.check_ref_dtype(dataset.dtype):
        return math.prod(dataset.shape) * 16
    base = h5py.check_vlen_dtype(dataset.dtype)
    if not h5py.check_string_dtype(dataset.dtype) and (base is None or np.dtype(base).hasobject):
        _not_taken("a table with values of variable length")
    if math.prod(dataset.shape) > MOST_LINKS:
        raise HTTPException(413, f"this HDF5 file has more than {MOST_LINKS} texts")
    total = 0
    for index in np.ndindex(dataset.shape):
        total += _length(dataset[index])
        if total > room:
            break
    return total


def _length(value: bytes | str | np.ndarray) -> int:
    return len(value) if isinstance(value, (bytes, str)) else int(value.nbytes)


def _check_chunks(dataset: h5py.Dataset, file_size: int) -> None:
    """Refuse a data set with a chunk that unpacks to more than a chunk.

    HDF5 unpacks all that there is before it looks whether that is a chunk.
    """
    from h5py import h5z

    made = dataset.id.get_create_plist()
    filters = [made.get_filter(i)[0] for i in range(made.get_nfilters())]
    if not filters:
        return
    if not set(filters) <= {h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32}:
        _not_taken("a data set compressed by other means than gzip")
    if filters.count(h5z.FILTER_DEFLATE) > 1:
        _not_taken("a data set compressed twice")
    largest = math.prod(dataset.chunks) * dataset.id.get_type().get_size() + 4 * len(filters)
    chunks: list[tuple[int, ...]] = []
    stored = 0

    def look_at(chunk: h5py.h5d.StoreInfo) -> None:
        nonlocal stored
        stored += chunk.size
        chunks.append(chunk.chunk_offset)

    dataset.id.chunk_iter(look_at)
    if stored > file_size:
        _not_taken("chunks that lie over one another")
    if h5z.FILTER_DEFLATE not in filters:
        return
    for offset in chunks:
        skipped, packed = dataset.id.read_direct_chunk(offset)
        if not skipped & 1 << filters.index(h5z.FILTER_DEFLATE) and _unpacks_to_more(
            packed, largest
        ):
            _too_large()


def _unpacks_to_more(packed: bytes, largest: int) -> bool:
    """Whether zlib makes more bytes of some, without keeping them."""
    unpacker, size = zlib.decompressobj(), 0
    try:
        while packed and not unpacker.eof:
            size += len(unpacker.decompress(packed, STEP))
            if size > largest:
                return True
            packed = unpacker.unconsumed_tail
    except zlib.error:
        return False  # its reader says that it is damaged
    return False
