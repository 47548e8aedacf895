"""Provenance: what is stored about the history of a set."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest

from omnidistill.core.errors import InputError
from omnidistill.distillation import Provenance

COMPLETE = Provenance(
    method="HoPA",
    config={"seed": 3, "distill": {"kind": "learn", "size": 10}},
    name="emoji",
    data="0123",
    heads="4567",
    licences={"images": "CC-BY-4.0"},
    encoders={"image": {"name": "clip"}},
    experts={"seed": 0, "starts": [{"learning_rate": 0.1, "num_epochs": 3}]},
    initial_set={"method": "random", "rows": "89ab"},
    initial_ids=("row-1", "row-2"),
    choices={"distill.storage.views": "16, so that 6 stored rows become 96 to train on"},
    notes=("small validation split",),
    iteration=0,
    validation=0.0,
)


def stored(provenance: Provenance) -> dict[str, object]:
    """Return the JSON of a provenance, as a file has it."""
    tree: dict[str, object] = json.loads(json.dumps(provenance.to_json()))
    return tree


def test_every_field_is_stored_and_read_back() -> None:
    assert set(stored(COMPLETE)) == {field.name for field in fields(Provenance)}
    assert Provenance.from_json(stored(COMPLETE), "provenance.json") == COMPLETE


def test_empty_fields_are_left_out() -> None:
    assert stored(Provenance()) == {}
    assert Provenance.from_json({}, "provenance.json") == Provenance()
    assert stored(Provenance(method="HoPA", iteration=0)) == {"method": "HoPA", "iteration": 0}


def test_unknown_fields_are_dropped() -> None:
    later = {**stored(COMPLETE), "weather": "sunny", "config": {"renamed": {"since": 9}}}
    found = Provenance.from_json(later, "provenance.json")
    assert "weather" not in stored(found)
    assert found.config == {"renamed": {"since": 9}}  # not validated, because it is only shown


@pytest.mark.parametrize(
    ("name", "value"),
    [("method", 3), ("data", ["0123"]), ("config", "none"), ("choices", []), ("notes", "small"), ("iteration", "last")],
)
def test_a_field_of_another_type_is_an_error_that_names_file_and_field(name: str, value: Any) -> None:
    with pytest.raises(
        InputError,
        match=rf"^provenance\.json: field '{name}' has the value .*, which is of the wrong type"
        r"; the file was altered, so restore it$",
    ):
        Provenance.from_json({**stored(COMPLETE), name: value}, "provenance.json")
