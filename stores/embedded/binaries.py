"""Large binary values that live on disk and are read when somebody asks for them.

GridFS keeps files as documents with up to 255 KiB of binary each. Held in memory with the other
documents, a few master patterns would fill a laptop; so a stored document carries a `DiskBinary`
in their place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

LARGE_BINARY = 64 * 1024
"""Binary values of at least this many bytes are kept on disk, not in memory."""


class DiskBinary:
    """A binary value in the journal's ``binaries`` table.

    Parameters
    ----------
    number : row of the table
    length : bytes
    subtype : BSON binary subtype
    read : loads the bytes of a row
    """

    __slots__ = ("_read", "length", "number", "subtype")

    def __init__(self, number: int, length: int, subtype: int, read: Callable[[int], bytes]):
        self.number = number
        self.length = length
        self.subtype = subtype
        self._read = read

    def __bytes__(self) -> bytes:
        return self._read(self.number)

    def __len__(self) -> int:
        return self.length

    def __eq__(self, other: object) -> bool:
        if isinstance(other, DiskBinary):
            return self.number == other.number or bytes(self) == bytes(other)
        return isinstance(other, bytes) and len(other) == self.length and bytes(self) == other

    def __hash__(self) -> int:
        return hash(bytes(self))


def disk_binaries(value: Any) -> Iterator[DiskBinary]:
    """Yield every `DiskBinary` inside a value."""
    if type(value) is dict:
        for item in value.values():
            if type(item) in (dict, list, DiskBinary):
                yield from disk_binaries(item)
    elif type(value) is list:
        for item in value:
            if type(item) in (dict, list, DiskBinary):
                yield from disk_binaries(item)
    elif type(value) is DiskBinary:
        yield value
