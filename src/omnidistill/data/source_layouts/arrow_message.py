"""Find out from the metadata of an Arrow message whether its columns are compressed.

This module reads the metadata itself. pyarrow does not show whether columns are compressed, and it decompresses a batch
before it reports the size of the batch.

The metadata is a flatbuffer (Arrow columnar format, "Encapsulated message format"; Message.fbs). Each table of a
flatbuffer starts with the distance to its vtable. The vtable lists the position of every field, or 0 if the field is
missing.
"""

from __future__ import annotations

import struct

_HEADER_TYPE, _HEADER, _DATA, _COMPRESSION = 1, 2, 1, 3  # numbers of fields in Message, DictionaryBatch and RecordBatch
_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3  # values of the header type


def is_compressed(metadata: bytes | memoryview) -> bool:
    """Return whether an Arrow message contains compressed columns.

    Args:
        metadata: the metadata of the message.

    Raises:
        struct.error: the metadata is damaged.
    """
    data = memoryview(metadata)
    message = _number("I", data, 0)
    kind = _field(data, message, _HEADER_TYPE)
    header = _field(data, message, _HEADER)
    if kind is None or header is None or (code := data[kind]) not in (_DICTIONARY_BATCH, _RECORD_BATCH):
        return False
    batch = _follow(data, header)
    if code == _DICTIONARY_BATCH:
        if (inner := _field(data, batch, _DATA)) is None:
            return False
        batch = _follow(data, inner)
    return _field(data, batch, _COMPRESSION) is not None


def _field(data: memoryview, table: int, number: int) -> int | None:
    """Return the position of a field of a table; None if the table does not have it."""
    vtable = table - _number("i", data, table)
    if 4 + 2 * number >= _number("H", data, vtable):
        return None
    offset = _number("H", data, vtable + 4 + 2 * number)
    return table + offset if offset else None


def _follow(data: memoryview, position: int) -> int:
    """Return the position of the flatbuffer table that the offset at `position` points to."""
    return position + _number("I", data, position)


def _number(code: str, data: memoryview, position: int) -> int:
    if position < 0:
        raise struct.error(f"the position {position} is before the start of the metadata")
    (value,) = struct.unpack_from(f"<{code}", data, position)
    return int(value)
