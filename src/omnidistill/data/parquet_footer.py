"""Read from the footer of a Parquet file how much memory its columns take.

    file     ... footer, length of the footer (4 bytes, little-endian), "PAR1"
    footer   struct FileMetaData in the compact protocol of Apache Thrift

pyarrow offers the same numbers, but version 26 ends the process if the size statistics of a column are damaged. This
module does not interpret these statistics. References: `parquet.thrift` of the Apache Parquet format, and
`thrift-compact-protocol.md` of Apache Thrift.
"""

from __future__ import annotations

from io import BufferedReader
from typing import Any

from omnidistill.io.input_files import MOST_LEVELS

_VALUE_BYTES = 8  # memory for one value of a column
_ROW_GROUPS, _COLUMNS, _COLUMN, _NUM_VALUES, _UNCOMPRESSED_BYTES = 4, 1, 3, 5, 6  # numbers of fields
_MOST_VARINT_BYTES = 10


def column_bytes(file: BufferedReader) -> int:
    """Return the number of bytes that the columns of a Parquet file take in memory.

    The result is a sum over all columns of all row groups. A column of a row group takes its uncompressed size, or 8
    bytes per value if that is more.

    Args:
        file: a file whose metadata pyarrow was able to read.

    Raises:
        Exception: the footer is damaged. The exception can have any type.
    """
    file.seek(-8, 2)
    length = int.from_bytes(file.read(4), "little")
    file.seek(-8 - length, 2)
    footer = _Compact(file.read(length)).struct()
    columns = [column[_COLUMN] for group in footer[_ROW_GROUPS] for column in group[_COLUMNS]]
    sizes = (max(_VALUE_BYTES * column[_NUM_VALUES], column[_UNCOMPRESSED_BYTES]) for column in columns)
    return sum(max(0, size) for size in sizes)


class _Compact:
    """A reader of values in the compact protocol."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def struct(self, level: int = 0) -> dict[int, Any]:
        """Read a struct and return {field number: value}.

        Args:
            level: nesting depth of the struct; 0 for the outermost struct.

        Raises:
            Exception: the data are damaged or nested too deeply. The exception can have any type.
        """
        if level > MOST_LEVELS:
            raise ValueError("values are nested too deeply")
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._signed()
            kind = head & 15
            fields[number] = kind == 1 if kind in (1, 2) else self._value(kind, level)  # the type is the truth value
        return fields

    def _value(self, kind: int, level: int) -> Any:
        """Read and return the next value, which has the Thrift type `kind`.

        In a struct, the type of a truth value is the value itself (1: true, 2: false). Nothing else is stored for it,
        so `struct` does not call this method for truth values.
        """
        match kind:
            case 1 | 2 | 3:  # a truth value in a list, a byte
                return self._byte()
            case 4 | 5 | 6:  # integers of 16, 32 and 64 bits
                return self._signed()
            case 7:  # a float
                return self._bytes(8)
            case 8:  # text
                return self._bytes(self._unsigned())
            case 9 | 10:  # a list, a set
                head = self._byte()
                size = head >> 4 if head >> 4 < 15 else self._unsigned()
                return self._values([head & 15], size, level)
            case 11:  # a map
                size = self._unsigned()
                kinds = self._byte() if size else 0
                return self._values([kinds >> 4, kinds & 15], size, level)
            case 12:
                return self.struct(level + 1)
            case 13:  # a UUID
                return self._bytes(16)
        raise ValueError(f"unknown type {kind}")

    def _values(self, kinds: list[int], repeats: int, level: int) -> list[Any]:
        if level > MOST_LEVELS:
            raise ValueError("values are nested too deeply")
        return [self._value(kind, level + 1) for _ in range(repeats) for kind in kinds]

    def _bytes(self, size: int) -> bytes:
        self._at += size
        if self._at > len(self._data):
            raise ValueError("a value ends after the footer")
        return self._data[self._at - size : self._at]

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _unsigned(self) -> int:
        number = 0
        for position in range(_MOST_VARINT_BYTES):
            byte = self._byte()
            number |= (byte & 127) << 7 * position
            if byte < 128:
                return number
        raise ValueError("an integer has more than 64 bits")

    def _signed(self) -> int:
        number = self._unsigned()
        return number >> 1 if number % 2 == 0 else -(number + 1 >> 1)  # 0, -1, 1, -2, ... are stored as 0, 1, 2, 3, ...
