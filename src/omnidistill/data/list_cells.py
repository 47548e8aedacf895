"""Rows with several captions: each element of a list becomes a row, and these rows form one group.

    id  group  text                      id    group  text
    7   -      ["a dog", "it barks"]     7     7      a dog
                                         7#1   7      it barks

The first of these rows keeps the id. In the other columns, all of them have the same values. Rows of one group are
positives of each other, so each caption is a right answer for the image, and the image for each caption.
"""

from __future__ import annotations

from collections.abc import Sequence

from omnidistill.core.errors import InputError
from omnidistill.data.table import Table


def expand_rows(counts: Sequence[int]) -> list[tuple[int, int]]:
    """Return (row, index of the element within the row) for every element, given the number of elements of each row."""
    return [(row, element) for row, count in enumerate(counts) for element in range(count)]


def element_id(name: str, element: int) -> str:
    """Return the id of the row for one element of a list.

    Args:
        name: id of the original row, which contains the list.
        element: number of the element, from 0.
    """
    return f"{name}#{element}" if element else name


def expand_lists(table: Table, columns: Sequence[str]) -> Table:
    """Return a table in which each element of a list has its own row; only one column may contain lists.

    Args:
        table: the table, with a column "id". If it has no column "group", the ids become the groups.
        columns: names of the columns that may contain lists. An empty list becomes an empty cell.

    Raises:
        InputError: two columns contain lists. The message names them.
    """
    lists = [name for name in columns if any(isinstance(value, list) for value in table[name])]
    if not lists:
        return table
    if len(lists) > 1:
        raise InputError(
            f"the columns {lists[0]!r} and {lists[1]!r} both contain lists; only one column may contain lists; "
            "replace each list in one of these two columns by a single value"
        )
    elements = [(value or [None]) if isinstance(value, list) else [value] for value in table[lists[0]]]
    places = expand_rows([len(each) for each in elements])
    result = {name: [values[row] for row, _ in places] for name, values in table.items()}
    result.setdefault("group", result["id"])
    result["id"] = [element_id(str(table["id"][row]), element) if element else table["id"][row]
                    for row, element in places]  # fmt: skip
    result[lists[0]] = [elements[row][element] for row, element in places]
    return Table(result, [table.lines[row] for row, _ in places] if table.lines else (), table.unread)
