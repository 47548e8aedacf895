"""Find the columns of an Arrow table that contain pictures, sounds, videos or texts, and read their cells.

The `datasets` library stores a file as a struct of its bytes and its path. A column of plain bytes counts as media if
it is named after a kind or a suffix, such as "image" or "jpg".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError
from omnidistill.data.media_kinds import KIND_OF, KINDS, Kind
from omnidistill.data.source_layouts.layout import Media
from omnidistill.io.input_files import open_input, parse_json

if TYPE_CHECKING:
    import pyarrow

_TEXT_NAMES = ("text", "texts", "caption", "captions", "sentence", "sentences", "txt", "description", "title")


def media_columns(schema: pyarrow.Schema) -> dict[str, Kind]:
    """Return {column: kind} for the columns that contain files."""
    from pyarrow import types

    declared = _declared_kinds(schema)
    kinds: dict[str, Kind] = {}
    for field in schema:
        names = [child.name for child in field.type] if types.is_struct(field.type) else []
        is_bytes = types.is_binary(field.type) or types.is_large_binary(field.type)
        kind = declared.get(field.name) or _named_kind(field.name)
        if kind is not None and kind != "text" and (is_bytes or "bytes" in names):
            kinds[field.name] = kind
    return kinds


@dataclass(frozen=True)
class TextColumns:
    """Columns of texts, or of lists of texts.

    Attributes:
        all: names of all these columns.
        default: the column to use if the user selects no columns. This is the column with the most usual name, such as
            "text" or "caption", or else the only column. None if there is neither.
    """

    all: tuple[str, ...]
    default: str | None

    def by_kind(self, where: str, kinds: Mapping[str, Kind]) -> dict[str, str]:
        """Return {modality: column} for all media columns and the default text column.

        A modality has the name of its kind, or the name of its column if several columns are of the same kind.

        Raises:
            InputError: it is unclear which text column contains the captions.
        """
        if self.default is None and self.all:
            raise InputError(
                f"{where}: unclear which column contains the texts: {', '.join(self.all)}; choose the columns "
                f"by {argument('modalities')} NAME,..., such as {','.join([*kinds, f'text={self.all[0]}'])}"
            )
        repeated = [kind for kind in KINDS if list(kinds.values()).count(kind) > 1]
        selected = {name if kind in repeated else kind: name for name, kind in kinds.items()}
        return selected | ({"text": self.default} if self.default is not None else {})


def text_columns(schema: pyarrow.Schema, labels: Sequence[str]) -> TextColumns:
    """Return the columns of texts, except `labels`: the columns with ids, groups and splits."""
    names = tuple(field.name for field in schema if field.name not in labels and _is_text(field.type))
    usual = next((name for name in _TEXT_NAMES if name in names), None)
    return TextColumns(names, usual or (names[0] if len(names) == 1 else None))


def to_content(where: str, value: object, kind: Kind | None, trusted: bool) -> Media | str | list[str] | None:
    """Return a cell as a file, a text or a list of texts. Return None for an empty cell.

    Args:
        where: the cell, for messages.
        value: the cell.
        kind: kind of the files in the column; None if it contains texts.
        trusted: whether to open the file if the cell contains its path, but not its content.

    Raises:
        InputError: the cell does not contain the content of its file, and the file cannot be opened instead: the cell
            has no path either, `trusted` is False, or the file cannot be read.
    """
    if value is not None and kind is not None:
        return _media(where, kind, value, trusted)
    if isinstance(value, list):
        return [each for each in value if isinstance(each, str)]
    return value if isinstance(value, str) else None


def _media(where: str, kind: Kind, value: Any, trusted: bool) -> Media:
    data, path = (value, None) if isinstance(value, bytes) else (value["bytes"], value.get("path"))
    suffix = PurePosixPath(path or "").suffix.lower()
    if data is None:
        if not path or not trusted:
            raise InputError(
                f"{where}: the dataset does not contain the content of this file, "
                f"{f'only its path {path!r}' if path else 'nor its path'}; save the dataset with `save_to_disk`, which "
                "stores the content of its files"
            )
        with open_input(Path(path)) as file:
            data = file.read()
    return Media(kind, data, suffix if KIND_OF.get(suffix) == kind else "")


def _declared_kinds(schema: pyarrow.Schema) -> dict[str, Kind]:
    """Return the kinds that the `datasets` library recorded in the metadata of the schema."""
    recorded = (schema.metadata or {}).get(b"huggingface", b"{}")
    try:
        features = parse_json(recorded.decode(), finite=False)["info"]["features"]
        types = {name: str(feature["_type"]).lower() for name, feature in features.items() if "_type" in feature}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}
    return {name: kind for name, type in types.items() for kind in KINDS if kind == type}


def _named_kind(name: str) -> Kind | None:
    return KIND_OF.get(f".{name.lower()}") or next((kind for kind in KINDS if kind == name.lower()), None)


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    is_list = types.is_list(kind) or types.is_large_list(kind)
    inner = kind.value_type if is_list else kind
    return bool(types.is_string(inner) or types.is_large_string(inner))
