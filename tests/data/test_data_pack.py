import csv
import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from omnidistill.core.errors import InputError
from omnidistill.data.featureset import prepare
from omnidistill.data.pack import pack, read_raw
from omnidistill.data.planted import planted
from omnidistill.data.raw import RawFeatures
from omnidistill.data.repairs import DroppedRows, MergedGroups
from omnidistill.data.store import load_features

TWO = {"video": 5, "speech": 4}
FOUR = {"video": 5, "speech": 4, "touch": 6, "depth": 3}
ROWS = {"heads": 6, "train": 9, "validation": 4, "test": 5}


def write_features(path, raw):
    if path.suffix == ".npz":
        np.savez(path, **{name: x.numpy() for name, x in raw.features.items()})
    elif path.suffix == ".safetensors":
        save_file(raw.features, path)
    elif path.suffix == ".parquet":
        columns = {name: list(x.numpy()) for name, x in raw.features.items()}
        pq.write_table(pa.table({**table(raw), **columns}), path)
    else:
        path.mkdir()
        for name, x in raw.features.items():
            np.save(path / f"{name}.npy", x.numpy())
    return path


def table(raw):
    return {"id": list(raw.ids), "group": list(raw.groups), "split": list(raw.splits)}


def write_table(path, columns):
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(columns))
            writer.writeheader()
            writer.writerows(rows)
    else:
        pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("modalities", [TWO, FOUR], ids=["M=2", "M=4"])
@pytest.mark.parametrize("source", ["f.npz", "f.safetensors", "f", "f.parquet"])
@pytest.mark.parametrize("beside", ["t.csv", "t.jsonl", "t.parquet"])
def test_every_source_and_table_packs_to_the_prepared_set(tmp_path, modalities, source, beside):
    raw = planted(modalities, ROWS, positives_per_group=2)
    report = pack(write_features(tmp_path / source, raw), write_table(tmp_path / beside, table(raw)), tmp_path / "set")
    packed, expected = load_features(tmp_path / "set"), prepare(raw)
    assert set(packed.modalities) == set(modalities)
    for name, x in expected.features.items():
        assert torch.equal(packed.features[name], x)
        assert torch.equal(packed.preprocessing.means[name], expected.preprocessing.means[name])
    assert (packed.ids, packed.groups, packed.splits) == (raw.ids, raw.groups, raw.splits)
    assert report.rows == ROWS
    assert report.widths == packed.widths == modalities
    assert set(report.dtypes.values()) == {"float32"}
    assert report.groups == len(set(raw.groups))
    assert report.duplicates == ()


def test_parquet_can_hold_its_own_table(tmp_path):
    raw = planted(FOUR, ROWS)
    pack(write_features(tmp_path / "f.parquet", raw), None, tmp_path / "set")
    assert load_features(tmp_path / "set").ids == raw.ids


def test_columns_of_other_names(tmp_path):
    raw = planted(TWO, ROWS, positives_per_group=2)
    columns = dict(zip(("name", "kind", "fold"), table(raw).values(), strict=True))
    features, beside = write_features(tmp_path / "f.npz", raw), write_table(tmp_path / "t.csv", columns)
    pack(features, beside, tmp_path / "set", id_column="name", group_column="kind", split_column="fold")
    packed = load_features(tmp_path / "set")
    assert (packed.ids, packed.groups, packed.splits) == (raw.ids, raw.groups, raw.splits)


def test_steps_can_be_left_out(tmp_path):
    raw = planted(TWO, ROWS)
    features, beside = write_features(tmp_path / "f.npz", raw), write_table(tmp_path / "t.csv", table(raw))
    report = pack(features, beside, tmp_path / "set", standardise=False, centre=False)
    assert torch.equal(load_features(tmp_path / "set").features["video"], raw.features["video"])
    assert "note   rows are not standardised, not centred" in report.lines()


@pytest.mark.parametrize("stored", [False, True])
def test_rows_get_the_steps_of_another_set(tmp_path, stored):
    raw, new = planted(TWO, ROWS), planted(TWO, ROWS, seed=1)
    other = pack(write_features(tmp_path / "f.npz", raw), write_table(tmp_path / "t.csv", table(raw)), tmp_path / "old")
    files = write_features(tmp_path / "new.npz", new), write_table(tmp_path / "new.csv", table(new))
    out, like = (tmp_path / "new", tmp_path / "old") if stored else (None, other.data)
    packed = pack(*files, out, like=like).data
    assert packed.preprocessing.difference(other.data.preprocessing) is None
    for name, x in other.data.preprocessing.apply(new.features).items():
        assert torch.equal(packed.features[name], x)


def test_rows_without_groups_or_heads_are_noted(tmp_path):
    raw = planted(TWO, {"train": 9, "validation": 4, "test": 5})
    columns = {"id": list(range(18)), "split": [{"validation": "val"}.get(split, split) for split in raw.splits]}
    report = pack(write_features(tmp_path / "f.npz", raw), write_table(tmp_path / "t.csv", columns), tmp_path / "set")
    packed = load_features(tmp_path / "set")
    assert packed.groups == packed.ids == tuple(str(row) for row in range(18))
    assert report.lines() == [
        "18 rows in 18 groups: train 9, validation 4, test 5",
        "2 modalities: video 5 wide (float32), speech 4 wide (float32)",
        "note   rows are standardised, centred on the mean of the train rows",
        "note   split 'val' is read as 'validation'",
        (
            "note   no column 'group': every row gets a separate group and is a positive only of itself; "
            "group_column='NAME' names a column"
        ),
        "note   no 'heads' split: projection heads start from random values unless you pass pre-trained heads",
    ]


def test_duplicates_and_repeats_are_reported_and_do_not_stop_the_pack(tmp_path):
    raw = planted(TWO, ROWS)
    rows = {split: raw.splits.index(split) for split in ROWS}
    for x in raw.features.values():
        x[rows["test"]] = x[rows["train"]]
    for row in (1, 2, 3):
        raw.features["speech"][rows["test"] + row] = raw.features["speech"][rows["heads"]]
    features, beside = write_features(tmp_path / "f.npz", raw), write_table(tmp_path / "t.csv", table(raw))
    lines = pack(features, beside, tmp_path / "set").lines()
    assert lines[2] == "warning leak: 1 of 5 test rows is also in train (video is identical): 'test-0' = 'train-0'"
    assert lines[3].startswith("warning leak: 4 of 5 test rows are also in heads and train (speech is identical): ")
    assert lines[4] == (
        "warning leak: 1 of 5 test rows is also in train (all modalities are identical): 'test-0' = 'train-0'"
    )
    assert any("3 test rows repeat the speech row of another group" in line for line in lines)
    assert lines[-2] == "note   to drop the rows of the other splits that leak: drop_leaks=True"
    assert lines[-1].endswith("(merge_duplicates=True)")
    assert len(load_features(tmp_path / "set")) == 24


def leaky(tmp_path):
    """Files in which speech row 0 of test is row 0 of train, and video row 1 of train is row 2 of train."""
    raw = planted(TWO, ROWS)
    first = {split: raw.splits.index(split) for split in ROWS}
    raw.features["speech"][first["train"]] = raw.features["speech"][first["test"]]
    raw.features["video"][first["train"] + 2] = raw.features["video"][first["train"] + 1]
    return raw, write_features(tmp_path / "f", raw), write_table(tmp_path / "t.csv", table(raw))


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "in memory"])
def test_a_repaired_set_equals_one_packed_from_repaired_files(tmp_path, stored):
    raw, features, beside = leaky(tmp_path)
    out = tmp_path / "set" if stored else None
    report = pack(features, beside, out, drop_leaks=True, merge_duplicates=True)
    rows = [row for row, name in enumerate(raw.ids) if name != "train-0"]
    first = raw.groups[raw.ids.index("train-1")]
    groups = tuple(first if raw.ids[row] == "train-2" else raw.groups[row] for row in rows)
    kept = RawFeatures(
        {name: x[rows] for name, x in raw.features.items()},
        tuple(raw.ids[row] for row in rows),
        groups,
        tuple(raw.splits[row] for row in rows),
        {},
    )
    packed, expected = load_features(out) if stored else report.data, prepare(kept)
    assert (packed.ids, packed.groups, packed.splits) == (expected.ids, expected.groups, expected.splits)
    for name, x in expected.features.items():
        assert torch.equal(packed.features[name], x)
        assert torch.equal(packed.preprocessing.means[name], expected.preprocessing.means[name])
    assert report.rows == {**ROWS, "train": 8}
    assert report.groups == 22
    assert report.duplicates == ()


def test_a_repair_is_reported_and_recorded_in_the_provenance(tmp_path):
    _, features, beside = leaky(tmp_path)
    report = pack(features, beside, tmp_path / "set", drop_leaks=True, merge_duplicates=["video"])
    assert report.dropped == (DroppedRows("train", "test", 1, {"speech": 1}),)
    assert report.merged == (MergedGroups("train", 2, 1),)
    assert report.lines()[2:] == [
        "note   rows are standardised, centred on the mean of the train rows",
        "note   dropped 1 train row identical to test rows (speech 1)",
        "note   merged 2 train groups with identical rows into 1",
    ]
    assert json.loads(json.dumps(report.to_json()))["merged"] == [{"split": "train", "before": 2, "after": 1}]
    provenance = load_features(tmp_path / "set").provenance
    assert provenance["drop_leaks"] == {
        "modalities": ["speech", "video"],
        "rows": [{"split": "train", "identical_to": "test", "rows": 1, "modalities": {"speech": 1}}],
    }
    assert provenance["merge_duplicates"] == {
        "modalities": ["video"],
        "groups": [{"split": "train", "before": 2, "after": 1}],
    }


def test_without_a_repair_rows_and_provenance_are_unchanged(tmp_path):
    raw, features, beside = leaky(tmp_path)
    report = pack(features, beside, tmp_path / "set")
    packed = load_features(tmp_path / "set")
    assert (packed.ids, len(set(packed.groups))) == (raw.ids, 24)
    assert packed.provenance == read_raw(features, beside).provenance
    assert (report.dropped, report.merged) == ((), ())
    clean = pack(features, beside, drop_leaks=["video"], merge_duplicates=["speech"])
    assert [line for line in clean.lines() if "to drop" in line or "to merge" in line] == [
        "note   no leaks to drop",
        "note   no groups to merge: no two groups of one split share identical rows",
        "note   to drop the rows of the other splits that leak: drop_leaks=True",
    ]


def test_provenance_holds_the_hash_of_every_file_and_no_folder(tmp_path):
    raw = planted(TWO, ROWS)
    features, beside = write_features(tmp_path / "f", raw), write_table(tmp_path / "t.csv", table(raw))
    provenance = read_raw(features, beside).provenance
    assert provenance["sources"] == {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in (features / "speech.npy", features / "video.npy", beside)
    }
    assert str(tmp_path) not in json.dumps(provenance)


def test_packing_again_replaces_the_set_with_force(tmp_path):
    for seed in (0, 1):
        raw = planted(TWO, ROWS, seed=seed)
        features, beside = write_features(tmp_path / "f.npz", raw), write_table(tmp_path / "t.csv", table(raw))
        pack(features, beside, tmp_path / "set", force=seed == 1)
    with pytest.raises(InputError, match="force=True"):
        pack(features, beside, tmp_path / "set")
    assert torch.equal(load_features(tmp_path / "set").features["video"], prepare(raw).features["video"])
    assert len(list((tmp_path / "set").iterdir())) == 2


def test_test_rows_change_no_other_row_of_the_artifact(tmp_path):
    raw = planted(TWO, ROWS)
    sets = []
    for name in ("one", "other"):
        features = write_features(tmp_path / f"{name}.npz", raw)
        pack(features, write_table(tmp_path / "t.csv", table(raw)), tmp_path / name)
        sets.append(load_features(tmp_path / name))
        for x in raw.features.values():
            x[-5:] = torch.randn(5, x.shape[1], generator=torch.Generator().manual_seed(9))
    one, other = sets
    assert not torch.equal(one.split("test").features["video"], other.split("test").features["video"])
    for split in ("heads", "train", "validation"):
        assert all(torch.equal(x, other.split(split).features[name]) for name, x in one.split(split).features.items())
    assert all(torch.equal(mean, other.preprocessing.means[name]) for name, mean in one.preprocessing.means.items())
