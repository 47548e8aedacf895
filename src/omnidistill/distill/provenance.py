"""Where a set comes from. Training does not need it; it is stored in a file of its own (`provenance.json`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from omnidistill.core.json_value import Json


@dataclass(frozen=True)
class Provenance:
    """The history of a set.

    Attributes:
        method: name of the method, as tables show it.
        config: the complete run configuration, as JSON; never validated on load.
        name: name of the dataset.
        data, heads: fingerprints (sha256) of the rows and of the start heads.
        licences, encoders: of the dataset, as it records them.
        experts: the key of the experts that were matched: settings, trainings, seed.
        initial_set: the set whose rows this one continued from: method, and fingerprint of the rows.
        initial_ids: ids of the real rows that the synthetic rows started from, or are.
        choices: {setting: value and reason} of every setting that was inferred from the data.
        notes: what the user should know, one line each.
        iteration: outer iteration of the set; validation: its score there, in [0, 1].
    """

    method: str = ""
    config: Mapping[str, Json] = field(default_factory=dict)
    name: str | None = None
    data: str | None = None
    heads: str | None = None
    licences: Json = None
    encoders: Json = None
    experts: Mapping[str, Json] | None = None
    initial_set: Mapping[str, Json] | None = None
    initial_ids: tuple[str, ...] = ()
    choices: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    iteration: int | None = None
    validation: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields that are known, as JSON."""
        tree = {each.name: getattr(self, each.name) for each in fields(self)}
        tree |= {"initial_ids": list(self.initial_ids), "notes": list(self.notes), "choices": dict(self.choices)}
        return {name: value for name, value in tree.items() if value not in (None, "", [], {}, ())}

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Provenance:
        """Read what `to_json` wrote; unknown fields (of a later version) are dropped."""
        known = {each.name: tree[each.name] for each in fields(cls) if each.name in tree}
        for name in ("initial_ids", "notes"):
            known[name] = tuple(str(each) for each in known.get(name) or ())
        return cls(**known)
