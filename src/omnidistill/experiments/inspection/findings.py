"""Result of an inspection: kind, facts, tensors and bytes, as text with one fact per line or as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from omnidistill.io.artifacts.tensor_file import DTYPES

Facts = dict[str, Any]
"""JSON values by name, in display order."""

_SHOWN = 12  # maximum number of tensors, and of entries per list, that are printed
_LONGEST = 160  # maximum number of characters in a printed value


@dataclass(frozen=True)
class TensorFacts:
    """Facts about a tensor: its dtype (as safetensors names it), its shape, and its size in bytes."""

    dtype: str
    shape: tuple[int, ...]
    bytes: int

    @staticmethod
    def of(tensors: Mapping[str, Tensor]) -> dict[str, TensorFacts]:
        """Return the dtype, shape and size in bytes of every tensor, by name, without reading the data."""
        return {
            name: TensorFacts(
                DTYPES.get(x.dtype, str(x.dtype).removeprefix("torch.")), tuple(x.shape), x.numel() * x.element_size()
            )
            for name, x in sorted(tensors.items())
        }


@dataclass(frozen=True)
class Finding:
    """Description of a file or folder.

    Attributes:
        path: the file or folder.
        kind: kind of content, such as "features" or "run".
        facts: facts about the content.
        bytes: size of all files.
        verified: True if the content matches its checksums, False if it was not compared with them, None if there are
            no checksums.
        tensors: facts about the tensors, by name.
        parts: descriptions of its parts, by their paths relative to `path`.
    """

    path: Path
    kind: str
    facts: Facts
    bytes: int
    verified: bool | None
    tensors: dict[str, TensorFacts] = field(default_factory=dict)
    parts: dict[str, Finding] = field(default_factory=dict)

    def content(self) -> dict[str, Any]:
        """Return the description of the file or folder as JSON values."""
        return {
            "path": str(self.path),
            "kind": self.kind,
            "bytes": self.bytes,
            "verified": self.verified,
            "facts": self.facts,
            "tensors": {name: {**asdict(x), "shape": list(x.shape)} for name, x in self.tensors.items()},
            "parts": {name: part.content() for name, part in self.parts.items()},
        }

    def lines(self) -> list[str]:
        """Return the description as text, one fact per line; long lists are truncated."""
        checked = _CHECKED[self.verified]
        lines = [f"{self.kind}  {self.path}", f"  {'bytes':14}  {self.bytes:,} ({checked})"]
        lines += [f"  {name:14}  {_shown(value)}" for name, value in self.facts.items() if value not in (None, [], {})]
        for name, x in list(self.tensors.items())[:_SHOWN]:
            lines.append(f"  {'tensor':14}  {name}  {x.dtype} {' x '.join(map(str, x.shape)) or 'scalar'}")
        if len(self.tensors) > _SHOWN:
            lines.append(f"  {'':14}  and {len(self.tensors) - _SHOWN} more tensors")
        for part in self.parts.values():
            lines += ["", *part.lines()]
        return lines


_CHECKED = {
    True: "content matches the checksums",
    False: "content not compared with the checksums",
    None: "no checksums",
}


def _shown(value: Any) -> str:
    match value:
        case bool():
            text = "yes" if value else "no"
        case int():
            text = f"{value:,}"
        case float():
            text = f"{value:.4g}"
        case Mapping():
            text = ", ".join(f"{name} {_shown(each)}" for name, each in value.items() if each is not None)
        case list() | tuple():
            text = ", ".join(map(_shown, value[:_SHOWN])) + (", ..." if len(value) > _SHOWN else "")
        case _:
            text = " ".join(str(value).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
