"""The MongoDB wire protocol: framing of messages and BSON inside them.

A message is a 16-byte header (length, request, response to, operation) and a body. Clients since
MongoDB 3.6 speak OP_MSG only, save for the very first greeting, which may come as OP_QUERY.
Source: MongoDB manual, "MongoDB Wire Protocol".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import bson
from bson import DBRef
from bson.binary import Binary
from bson.codec_options import (
    CodecOptions,
    DatetimeConversion,
    TypeEncoder,
    TypeRegistry,
)

from .binaries import DiskBinary
from .errors import DatabaseError

OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
HEADER = struct.Struct("<iiii")
MAX_DOCUMENT = 16 * 1024 * 1024
MAX_DEPTH = 180
"""Levels of nesting a stored document may have, itself counted, as in MongoDB."""
MAX_MESSAGE = 48_000_000
MAX_WRITE_BATCH = 100_000
# A command document may exceed the 16 MB of its payload by this much (as in MongoDB).
COMMAND_OVERHEAD = 16 * 1024

_CHECKSUM_PRESENT, _MORE_TO_COME = 1, 2
_REQUIRED_FLAGS = 0xFFFF


class _DiskBinaryEncoder(TypeEncoder):
    python_type = DiskBinary  # type: ignore[assignment]

    def transform_python(self, value: DiskBinary) -> Binary:
        return Binary(bytes(value), value.subtype)


CODEC: CodecOptions[dict[str, Any]] = CodecOptions(
    document_class=dict,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    type_registry=TypeRegistry([_DiskBinaryEncoder()]),
)


class ProtocolError(ValueError):
    """Bytes that are not a well-formed message; the connection is closed."""


@dataclass(frozen=True)
class Request:
    """One command as received.

    Attributes
    ----------
    number : the client's request number, repeated in the reply
    operation : OP_MSG or OP_QUERY
    command : the command document, document sequences merged in
    wants_reply : False for an unacknowledged write (the moreToCome flag)
    """

    number: int
    operation: int
    command: dict[str, Any]
    wants_reply: bool


def encode(document: dict[str, Any]) -> bytes:
    """BSON of a document, binaries on disk read in."""
    return bson.encode(document, codec_options=CODEC)


def decode(data: bytes) -> dict[str, Any]:
    """Document from BSON: naive UTC datetimes, bytes for plain binaries, documents for DBRefs."""
    document = bson.decode(data, CODEC)
    return _plain(document) if b"$ref" in data else document


def _plain(value: Any) -> Any:
    """The value with DBRefs as the documents they are to a server."""
    if isinstance(value, DBRef):
        value = value.as_doc()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def body_length(header: bytes) -> int:
    """Bytes that follow a 16-byte header.

    Raises
    ------
    ProtocolError
        If the length is below the header's own or above the message limit.
    """
    length = HEADER.unpack(header)[0]
    if not HEADER.size <= length <= MAX_MESSAGE + COMMAND_OVERHEAD:
        raise ProtocolError(f"message length {length} is outside 16..{MAX_MESSAGE}")
    return int(length) - HEADER.size


def parse(header: bytes, body: bytes) -> Request:
    """Request from its header and body.

    Raises
    ------
    ProtocolError
        For any other operation than OP_MSG and OP_QUERY, unknown required flags or broken BSON.
    """
    _, number, _, operation = HEADER.unpack(header)
    try:
        if operation == OP_MSG:
            return _parse_msg(number, body)
        if operation == OP_QUERY:
            return _parse_query(number, body)
    except (struct.error, IndexError, ValueError, bson.errors.InvalidBSON) as error:
        raise ProtocolError(f"malformed message: {error}") from error
    raise ProtocolError(f"operation {operation} is not supported, only OP_MSG (2013)")


def _parse_msg(number: int, body: bytes) -> Request:
    (flags,) = struct.unpack_from("<I", body)
    if flags & _REQUIRED_FLAGS & ~(_CHECKSUM_PRESENT | _MORE_TO_COME):
        raise ProtocolError(f"unknown required flags in {flags:#x}")
    position, end = 4, len(body) - (4 if flags & _CHECKSUM_PRESENT else 0)
    command: dict[str, Any] = {}
    sequences: dict[str, Any] = {}
    while position < end:
        kind = body[position]
        position += 1
        (length,) = struct.unpack_from("<i", body, position)
        if length < 5 or position + length > end:
            raise ProtocolError(f"section of {length} bytes does not fit its message")
        if kind == 0:
            command = decode(body[position : position + length])
        elif kind == 1:
            name_end = body.index(b"\0", position + 4)
            name = body[position + 4 : name_end].decode()
            data = body[name_end + 1 : position + length]
            documents = bson.decode_all(data, CODEC)
            sequences[name] = _plain(documents) if b"$ref" in data else documents
        else:
            raise ProtocolError(f"unknown section kind {kind}")
        position += length
    if not command:
        raise ProtocolError("message without a command")
    return Request(number, OP_MSG, command | sequences, not flags & _MORE_TO_COME)


def _parse_query(number: int, body: bytes) -> Request:
    name_end = body.index(b"\0", 4)
    start = name_end + 9
    (length,) = struct.unpack_from("<i", body, start)
    command = decode(body[start : start + length])
    command = command.get("$query", command)
    return Request(
        number, OP_QUERY, {**command, "$db": body[4:name_end].decode().split(".")[0]}, True
    )


def reply(request: Request, document: dict[str, Any]) -> bytes:
    """Bytes of the reply to a request, in the operation it was asked with.

    Raises
    ------
    DatabaseError
        If the reply is larger than a client takes (10334).
    """
    data = encode(document)
    if len(data) > MAX_MESSAGE - COMMAND_OVERHEAD:
        raise DatabaseError(10334, f"a reply of {len(data)} bytes is too large; ask for less")
    if request.operation == OP_QUERY:
        body = struct.pack("<iqii", 8, 0, 0, 1) + data
        return HEADER.pack(HEADER.size + len(body), 0, request.number, OP_REPLY) + body
    body = struct.pack("<IB", 0, 0) + data
    return HEADER.pack(HEADER.size + len(body), 0, request.number, OP_MSG) + body


def command_message(document: dict[str, Any], number: int = 1) -> bytes:
    """A command as a client sends it; used for the liveness ping."""
    body = struct.pack("<IB", 0, 0) + encode(document)
    return HEADER.pack(HEADER.size + len(body), number, 0, OP_MSG) + body
