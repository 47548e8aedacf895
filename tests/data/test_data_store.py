import dataclasses
import json

import pytest
import torch

from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet, prepare
from omnidistill.data.planted import planted
from omnidistill.data.raw_rows import RawRows
from omnidistill.data.store import load_features, prepare_raw, save_features
from omnidistill.io.artifacts import load_artifact, save_artifact

ROWS = {"test": 5, "heads": 4, "train": 6, "validation": 3}


def made(centre=True, pairing=False):
    whole = prepare(planted({"a": 5, "b": 7, "c": 3}, ROWS, positives_per_group=2), centre=centre)
    strange = tuple(f"{name} é\n\"'🕚" for name in whole.ids)
    similarity = torch.rand(18, 18, generator=torch.Generator().manual_seed(0)) if pairing else None
    return dataclasses.replace(whole, ids=strange, pairing=similarity)


@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize("pairing", [True, False])
def test_a_set_comes_back_as_it_was(tmp_path, centre, pairing):
    one = made(centre, pairing)
    save_features(one, tmp_path / "set", {"made by": "this test"})
    two = load_features(tmp_path / "set")
    assert two.modalities == one.modalities
    assert all(torch.equal(x, two.features[name]) for name, x in one.features.items())
    assert (two.ids, two.groups, two.splits) == (one.ids, one.groups, one.splits)
    assert (two.pairing is None) == (one.pairing is None)
    assert one.pairing is None or torch.equal(one.pairing, two.pairing)
    assert two.preprocessing.to_meta() == one.preprocessing.to_meta()
    assert all(torch.equal(x, two.preprocessing.means[name]) for name, x in one.preprocessing.means.items())
    assert two.provenance == {**one.provenance, "made by": "this test"}


def test_a_loaded_set_can_be_split_and_saved_again(tmp_path):
    save_features(made(), tmp_path / "set")
    save_features(load_features(tmp_path / "set").split("train"), tmp_path / "train")
    train = load_features(tmp_path / "train")
    assert train.split_sizes == {"train": 6}
    assert torch.equal(train.features["b"], made().split("train").features["b"])


def test_a_folder_of_another_kind_is_left_alone(tmp_path):
    save_artifact(tmp_path / "other", "heads", {"w": torch.ones(2)}, {})
    with pytest.raises(InputError, match="'heads'"):
        save_features(made(), tmp_path / "other")
    with pytest.raises(InputError, match="'heads'"):
        load_features(tmp_path / "other")
    assert torch.equal(load_artifact(tmp_path / "other", "heads").tensors["w"], torch.ones(2))


TAMPERED = {
    "no ids": lambda tensors, meta: tensors.pop("ids"),
    "ids that are no text": lambda tensors, meta: tensors.update(ids=torch.full((4,), 200, dtype=torch.uint8)),
    "ids that are no list": lambda tensors, meta: tensors.update(ids=text({"a": 1})),
    "ids that are numbers": lambda tensors, meta: tensors.update(ids=text([1] * 18)),
    "ids twice": lambda tensors, meta: tensors.update(ids=text(["x"] * 18)),
    "ids too few": lambda tensors, meta: tensors.update(ids=text(["x"])),
    "a group that is not named": lambda tensors, meta: tensors["group_codes"].fill_(99),
    "group codes that are not whole": lambda tensors, meta: tensors.update(group_codes=torch.zeros(18)),
    "a modality that is not stored": lambda tensors, meta: meta["modalities"].append("d"),
    "one modality": lambda tensors, meta: meta.update(modalities=["a"]),
    "a modality that is no name": lambda tensors, meta: meta.update(modalities=[["a"], 3]),
    "modalities that are no list": lambda tensors, meta: meta.update(modalities=7),
    "no preprocessing": lambda tensors, meta: meta.pop("preprocessing"),
    "no mean": lambda tensors, meta: tensors.pop("mean/b"),
    "provenance that is no object": lambda tensors, meta: meta.update(provenance=3),
    "a split that is unknown": lambda tensors, meta: meta.update(splits=["a", "b", "c", "d"]),
    "no splits": lambda tensors, meta: meta.update(splits=[]),
    "NaN": lambda tensors, meta: tensors["features/a"].fill_(float("nan")),
    "whole numbers": lambda tensors, meta: tensors.update({"features/a": torch.ones(18, 5, dtype=torch.int64)}),
    "pairing of another size": lambda tensors, meta: tensors.update(pairing=torch.ones(2, 2)),
}


def text(value):
    return torch.tensor(list(json.dumps(value).encode()), dtype=torch.uint8)


@pytest.mark.parametrize("what", TAMPERED)
def test_an_artifact_whose_content_is_no_set_is_refused(tmp_path, what):
    save_features(made(), tmp_path / "set")
    artifact = load_artifact(tmp_path / "set", "features")
    tensors, meta = {name: x.clone() for name, x in artifact.tensors.items()}, artifact.meta
    TAMPERED[what](tensors, meta)
    save_artifact(tmp_path / "tampered", "features", tensors, meta)
    with pytest.raises(InputError, match="tampered") as caught:
        load_features(tmp_path / "tampered")
    assert "\n" not in str(caught.value)


def test_what_is_loaded_is_validated_like_any_set(tmp_path):
    save_features(made(), tmp_path / "set")
    assert isinstance(load_features(tmp_path / "set"), FeatureSet)
    with pytest.raises(InputError, match="not an omnidistill artifact"):
        load_features(tmp_path / "nothing")


def mixed():
    """Return rows whose splits alternate, as in many tables."""
    raw = planted({"a": 5, "b": 7, "c": 3}, ROWS)
    order = torch.randperm(18, generator=torch.Generator().manual_seed(1))
    names = {key: tuple(getattr(raw, key)[row] for row in order.tolist()) for key in ("ids", "groups", "splits")}
    return dataclasses.replace(raw, features={name: x[order] for name, x in raw.features.items()}, **names)


@pytest.mark.parametrize("at_once", [1, 8, 2**20])
@pytest.mark.parametrize("standardise", [True, False])
def test_rows_prepared_while_they_are_saved_are_those_of_prepare_split_by_split(
    tmp_path, monkeypatch, at_once, standardise
):
    monkeypatch.setattr("omnidistill.data.raw_rows._NUMBERS_AT_ONCE", at_once)
    whole = prepare(mixed(), standardise)
    saved = prepare_raw(RawRows.of(mixed()), standardise).save(tmp_path / "set")
    for found in (saved, load_features(tmp_path / "set")):
        assert list(found.split_sizes.items()) == [(split, ROWS[split]) for split in whole.split_sizes]
        assert found.splits == tuple(split for split in dict.fromkeys(whole.splits) for _ in range(ROWS[split]))
        for split in ROWS:
            one, other = found.split(split), whole.split(split)
            assert (one.ids, one.groups) == (other.ids, other.groups)
            assert all(torch.equal(x, other.features[name]) for name, x in one.features.items())
        assert all(torch.equal(x, found.preprocessing.means[name]) for name, x in whole.preprocessing.means.items())
        assert found.provenance == whole.provenance


def test_a_split_of_a_packed_set_is_a_view_of_the_file_and_one_of_an_older_set_a_copy(tmp_path):
    prepare_raw(RawRows.of(mixed())).save(tmp_path / "set")
    save_features(prepare(mixed()), tmp_path / "older")  # as sets were packed before rows were ordered
    packed, older = load_features(tmp_path / "set"), load_features(tmp_path / "older")
    assert older.ids == mixed().ids
    for split in ROWS:
        first = packed.splits.index(split)
        for name, x in packed.split(split).features.items():
            assert x.data_ptr() == packed.features[name][first].data_ptr()
            assert x.data_ptr() != older.split(split).features[name].data_ptr()
            assert torch.equal(x, older.split(split).features[name])


def test_rows_that_cannot_be_prepared_leave_the_set_as_it_was(tmp_path):
    save_features(made(), tmp_path / "set")
    before = {path.name: path.read_bytes() for path in (tmp_path / "set").iterdir()}
    raw = mixed()
    train = [row for row, split in enumerate(raw.splits) if split == "train"]
    raw.features["b"][train] = raw.features["b"][train[0]].clone()
    with pytest.raises(
        InputError, match=rf"'b', row {train[0]} \(id '{raw.ids[train[0]]}'\): equal to the subtracted mean"
    ):
        prepare_raw(RawRows.of(raw)).save(tmp_path / "set")
    assert {path.name: path.read_bytes() for path in (tmp_path / "set").iterdir()} == before


def forged(folder, tensors=None, **meta):
    """A stored set with other tensors or metadata, and true checksums."""
    save_features(made(), folder)
    stored = load_artifact(folder, "features")
    save_artifact(folder, "features", {**stored.tensors, **(tensors or {})}, {**stored.meta, **meta})
    return folder


def as_text(text):
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)


@pytest.mark.parametrize(
    "tensors",
    [
        {"group_codes": -torch.ones(18, dtype=torch.int64)},
        {"split_codes": torch.full((18,), -1, dtype=torch.int8)},
        {"split_codes": torch.full((18,), 9, dtype=torch.uint8)},
        {"group_codes": torch.zeros(18, 1, dtype=torch.int64)},
        {"group_codes": torch.zeros(18, dtype=torch.bool)},
        {"group_codes": torch.zeros(0, dtype=torch.int64)},
        {"ids": as_text("[" * 5000)},
        {"ids": as_text(json.dumps(["x"] * 18))},
        {"ids": as_text(json.dumps([1] * 18))},
        {"ids": as_text(json.dumps([f"\ud800{row}" for row in range(18)]))},
        {"ids": torch.ones(4)},
        {"mean/a": torch.ones(2, 2)},
    ],
)
def test_forged_tensors_are_refused_in_one_line(tmp_path, tensors):
    with pytest.raises(InputError, match=str(tmp_path)) as caught:
        load_features(forged(tmp_path, tensors))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "meta",
    [
        {"splits": [1, 2, 3, 4]},
        {"splits": {"0": "train"}},
        {"splits": None},
        {"splits": []},
        {"modalities": 5},
        {"modalities": "ab"},
        {"modalities": [["a"], "b"]},
        {"modalities": ["a", "z"]},
        {"preprocessing": []},
        {"preprocessing": {"standardise": True, "epsilon": "x", "centred": {"a": {}}}},
        {"provenance": 3},
    ],
    ids=str,
)
def test_forged_metadata_is_refused_in_one_line(tmp_path, meta):
    with pytest.raises(InputError, match=str(tmp_path)) as caught:
        load_features(forged(tmp_path, **meta))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_negative_group_codes_do_not_count_from_the_end(tmp_path):
    save_features(made(), tmp_path)
    codes = load_artifact(tmp_path, "features").tensors["group_codes"]
    with pytest.raises(InputError, match="codes from -10 to -1 for 10 names"):
        load_features(forged(tmp_path, {"group_codes": codes - int(codes.max()) - 1}))
