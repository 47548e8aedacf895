"""Provenance of a set: how it was produced. Training does not need it, so it has its own file (`provenance.json`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from omnidistill.core.errors import InputError
from omnidistill.core.json_value import Json
from omnidistill.data.featureset import FeatureSet


@dataclass(frozen=True)
class Provenance:
    """The history of a set.

    Attributes:
        method: name of the method, as tables show it.
        config: the complete run configuration, as JSON; it is not validated when the set is loaded.
        name: name of the dataset.
        data: fingerprint (sha256) of the dataset's rows.
        heads: fingerprint (sha256) of the initial heads.
        licences: licences recorded in the dataset.
        encoders: encoders recorded in the dataset.
        experts: configuration, training settings and seed of the experts.
        initial_set: method and fingerprint of the set from which the outer loop continued.
        initial_ids: ids of the real rows from which the synthetic rows were initialised, or ids of the rows of a set
            that consists of real rows.
        choices: for each setting that was inferred from the data, its value and the reason, as text.
        notes: notes for the user, one line each.
        iteration: outer iteration that produced the set.
        validation: validation score of the set, in [0, 1].
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

    def of_data(self, data: FeatureSet) -> Provenance:
        """Return a copy for a set whose rows were computed again from the features in `data`.

        `data` contains the same items, encoded by another encoder. The fingerprints and the validation score are
        removed, because they do not apply to the new rows.
        """
        encoders = data.provenance.get("encoders")
        notes = (*self.notes, f"rows computed again from the features of {data.provenance.get('name', 'other data')}")
        return replace(self, data=None, heads=None, encoders=encoders, notes=notes, validation=None)

    def to_json(self) -> dict[str, Any]:
        """Return the fields that have a value, as JSON values."""
        tree = {each.name: getattr(self, each.name) for each in fields(self)}
        tree |= {"initial_ids": list(self.initial_ids), "notes": list(self.notes), "choices": dict(self.choices)}
        return {name: value for name, value in tree.items() if value not in (None, "", [], {}, ())}

    @classmethod
    def from_json(cls, tree: Mapping[str, Any], where: str) -> Provenance:
        """Create a provenance from JSON that `to_json` returned. Fields that this version does not know are ignored.

        Raises:
            InputError: a field has the wrong type; the message names the file and the field.
        """
        known = {each.name: tree[each.name] for each in fields(cls) if tree.get(each.name) is not None}
        for name, types in _TYPES.items():
            if name in known and not isinstance(known[name], types):
                raise InputError(
                    f"{where}: field '{name}' has the value {known[name]!r}, which is of the wrong type; the file "
                    "was altered, so restore it"
                )
        for name in ("initial_ids", "notes"):
            known[name] = tuple(str(each) for each in known.get(name, ()))
        return cls(**known)


_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("method", "name", "data", "heads"), (str,)),
    **dict.fromkeys(("config", "experts", "initial_set", "choices"), (dict,)),
    **dict.fromkeys(("initial_ids", "notes"), (list,)),
    **dict.fromkeys(("iteration", "validation"), (int, float)),
}
