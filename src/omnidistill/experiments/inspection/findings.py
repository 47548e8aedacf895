"""What was found: kind, facts, tensors, bytes; for people one fact a line, for machines one object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from omnidistill.io.artifacts.tensor_file import DTYPES

Facts = dict[str, Any]
"""JSON values by name, in the order in which they are told."""

_SHOWN = 12  # tensors, and entries of a list
_LONGEST = 160  # characters of a value


@dataclass(frozen=True)
class TensorFacts:
    """dtype: as safetensors names it. bytes: of the numbers."""

    dtype: str
    shape: tuple[int, ...]
    bytes: int

    @staticmethod
    def of(tensors: Mapping[str, Tensor]) -> dict[str, TensorFacts]:
        """Of every tensor, by name; nothing is read but sizes."""
        return {
            name: TensorFacts(
                DTYPES.get(x.dtype, str(x.dtype).removeprefix("torch.")), tuple(x.shape), x.numel() * x.element_size()
            )
            for name, x in sorted(tensors.items())
        }


@dataclass(frozen=True)
class Finding:
    """What lies at `path`. bytes: of all its files. verified: whether checksums of the contents were compared;
    None where there are none.

    parts: what lies in it, by its path below this one.
    """

    path: Path
    kind: str
    facts: Facts
    bytes: int
    verified: bool | None
    tensors: dict[str, TensorFacts] = field(default_factory=dict)
    parts: dict[str, Finding] = field(default_factory=dict)

    def content(self) -> dict[str, Any]:
        """Everything, as JSON."""
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
        """For people, one fact a line; long lists are cut."""
        checked = _CHECKED[self.verified]
        lines = [f"{self.kind}  {self.path}", f"  {'bytes':14}  {self.bytes:,} ({checked})"]
        lines += [f"  {name:14}  {_shown(value)}" for name, value in self.facts.items() if value not in (None, [], {})]
        for name, x in list(self.tensors.items())[:_SHOWN]:
            lines.append(f"  {'tensor':14}  {name}  {x.dtype} {' x '.join(map(str, x.shape)) or 'scalar'}")
        if len(self.tensors) > _SHOWN:
            lines.append(f"  {'':14}  and {len(self.tensors) - _SHOWN} more tensors; --json names all")
        for part in self.parts.values():
            lines += ["", *part.lines()]
        return lines


_CHECKED = {
    True: "contents match their checksums",
    False: "contents not read; --verify compares them with their checksums",
    None: "no checksums are kept of it",
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
