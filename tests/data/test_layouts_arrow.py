"""Hugging Face datasets with columns of embeddings, as the library writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import datasets
from layout_files import ROWS, vectors
from omnidistill.core.errors import InputError
from omnidistill.data.pack import pack
from small_runs import cli

datasets.disable_progress_bars()

PLAIN: dict[str, Any] = {"standardise": False, "centre": False}


def made(rows: slice = slice(None), fixed: bool = True) -> Any:
    """A Dataset with columns of embeddings: of a fixed width, or lists."""
    arrays = {f"{name}_embedding": list(x[rows]) for name, x in vectors().items()}
    names = [f"item {row}" for row in range(ROWS)][rows]
    lengths = {name: len(x[0]) if fixed else -1 for name, x in arrays.items()}
    features = {name: datasets.Sequence(datasets.Value("float32"), length) for name, length in lengths.items()}
    columns = {"id": names, "note": ["x"] * len(names), "box": [[1, 2]] * len(names), **arrays}
    texts: dict[str, Any] = {name: datasets.Value("string") for name in ("id", "note")}
    texts["box"] = datasets.Sequence(datasets.Value("int64"))
    return datasets.Dataset.from_dict(columns, datasets.Features({**texts, **features}))


def of_splits() -> Any:
    parts = {"train": slice(0, 40), "valid": slice(40, 50), "test": slice(50, 60)}
    return datasets.DatasetDict({split: made(rows) for split, rows in parts.items()})


def check(data: Any) -> None:
    """The rows are those of `vectors`, whatever their order."""
    rows = [int(name.removeprefix("item ")) for name in data.ids]
    assert sorted(rows) == list(range(ROWS))
    for name, x in vectors().items():
        assert torch.equal(data.features[f"{name}_embedding"], torch.from_numpy(x[rows]))


def test_a_saved_dataset_with_splits_is_packed_by_its_path_alone(tmp_path: Path) -> None:
    of_splits().save_to_disk(tmp_path / "saved")
    report = pack(tmp_path / "saved", **PLAIN)
    check(report.data)
    assert report.rows == {"train": 40, "validation": 10, "test": 10}
    assert report.widths == {"image_embedding": 5, "text_embedding": 4}
    assert "not used: the column 'box', which contains whole numbers" in report.notes
    assert len(report.data.provenance["sources"]) == 3
    renamed = pack(tmp_path / "saved", modalities=["image=image_embedding", "text=text_embedding"])
    assert renamed.widths == {"image": 5, "text": 4}


@pytest.mark.parametrize("fixed", [True, False], ids=["fixed width", "lists"])
def test_objects_and_files_have_the_same_rows(tmp_path: Path, fixed: bool) -> None:
    dataset = made(fixed=fixed)
    check(pack(dataset, **PLAIN).data)
    check(pack(dataset.shuffle(seed=3), **PLAIN).data)  # a selection or order of rows is respected
    dataset.save_to_disk(tmp_path / "saved", num_shards=2)
    (tmp_path / "saved/cache-1a2b.arrow").write_bytes(b"what Dataset.map leaves")
    check(pack(tmp_path / "saved", **PLAIN).data)
    (tmp_path / "files").mkdir()
    for number in range(2):
        dataset.shard(2, number).to_parquet(tmp_path / f"files/part-{number}.parquet")
    check(pack(tmp_path / "files", **PLAIN).data)
    (tmp_path / "files/README.md").write_text("# card")
    report = pack(tmp_path / "files/part-0.parquet")
    assert sum(report.rows.values()) == ROWS // 2


def test_splits_of_objects_and_file_names(tmp_path: Path) -> None:
    assert pack(of_splits()).rows == {"train": 40, "validation": 10, "test": 10}
    for split, dataset in of_splits().items():
        dataset.to_parquet(tmp_path / f"{split}-00000-of-00001.parquet")
    assert pack(tmp_path).rows == {"train": 40, "validation": 10, "test": 10}
    (tmp_path / "test-00000-of-00001.parquet").rename(tmp_path / "rest.parquet")
    with pytest.raises(InputError, match=r"some files are named after a split \(train, validation\), but not all are"):
        pack(tmp_path)


def test_a_missing_split_is_drawn_from_the_training_groups() -> None:
    dataset = datasets.DatasetDict({"train": made(slice(0, 50)), "test": made(slice(50, 60))})
    report = pack(dataset)
    assert report.rows["test"] == 10
    assert 0 < report.rows["validation"] < 15
    assert any("the data has no validation rows: 10 % of the training groups" in note for note in report.notes)


def test_several_caption_embeddings_of_a_row_become_rows_of_one_group(tmp_path: Path) -> None:
    image, text = vectors().values()
    captions = [[text[row], -text[row]][: 1 + row % 2] for row in range(ROWS)]
    splits = ["train"] * 40 + ["validation"] * 10 + ["test"] * 10
    pq.write_table(pa.table({"image": list(image), "text": captions, "split": splits}), tmp_path / "rows.parquet")
    data = pack(tmp_path / "rows.parquet", **PLAIN).data
    assert len(data) == ROWS + ROWS // 2
    assert data.ids[:5] == ("0", "1", "1#1", "2", "3")
    assert data.groups[:5] == ("0", "1", "1", "2", "3")
    assert torch.equal(data.features["image"][1], data.features["image"][2])
    assert torch.equal(data.features["text"][1], -data.features["text"][2])
    assert len(data.distinct_rows["image"]) == ROWS  # a repeated image is one query


def test_columns_missing_from_a_table_of_items_with_several_captions_are_noticed(tmp_path: Path) -> None:
    image, text = vectors().values()
    captions = [[text[row], -text[row]] for row in range(ROWS)]
    (folder := tmp_path / "DATA").mkdir()
    pq.write_table(pa.table({"image": list(image), "text": captions}), folder / "rows.parquet")
    splits, table = ["train"] * 40 + ["validation"] * 10 + ["test"] * 10, tmp_path / "table.csv"
    table.write_text("split\n" + "\n".join(splits))
    given = {"table": table, **PLAIN}
    refused(folder, "the column 'id' is missing", **given)
    table.write_text("id,split\n" + "\n".join(f"item {row},{split}" for row, split in enumerate(splits)))
    for keyword in ("id_column", "group_column"):
        refused(folder, "the column 'nope' is missing", **given, **{keyword: "nope"})
    report = pack(folder, **given)
    assert any("every item gets a separate group, and only its own rows" in note for note in report.notes)
    assert report.data.ids[:3] == ("item 0", "item 0#1", "item 1")
    assert report.data.groups[:3] == ("item 0", "item 0", "item 1")


def test_hub_names_are_loaded_by_the_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []

    def load(name: str, config: str | None, revision: str | None) -> Any:
        asked.append((name, config, revision))
        if name == "me/absent":
            raise FileNotFoundError("Dataset 'me/absent' doesn't exist\non the Hub")
        return of_splits()

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert "60 rows in 60 groups" in cli("pack", "hub:me/mine", "-o", tmp_path / "SET").out
    pack("hub:me/mine/small@1a2b")
    assert asked == [("me/mine", None, None), ("me/mine", "small", "1a2b")]
    with pytest.raises(InputError, match=r"hub:me/absent: cannot be loaded .*FileNotFoundError: Dataset .* on the"):
        pack("hub:me/absent")
    with pytest.raises(InputError, match="hub:mine: expected hub:OWNER/NAME"):
        pack("hub:mine")


def refused(source: Any, match: str, **options: Any) -> None:
    with pytest.raises(InputError, match=match) as caught:
        pack(source, **options)
    assert "\n" not in str(caught.value)


def test_columns_that_are_missing_are_listed_with_the_option(tmp_path: Path) -> None:
    dataset = made()
    found = r"such columns: box, image_embedding, text_embedding; other columns: id, note; choose with modalities"
    match = rf"Dataset: no column 'img' with lists of numbers \(modality 'image'\); {found}"
    refused(dataset, match, modalities={"image": "img"})
    refused(dataset.select_columns(["id", "note"]), "no column with lists of numbers; .* other columns: id, note")
    refused(dataset.to_iterable_dataset(), "the type IterableDataset has no fixed number of rows")
    dataset.save_to_disk(tmp_path / "saved")
    got = cli("pack", tmp_path / "saved", "--modalities", "image=img", "-o", tmp_path / "SET").err
    assert "choose with --modalities MODALITY=NAME,..." in got
    assert "use only one of: SOURCE or --features" in cli("pack", "a", "--features", "a", "-o", tmp_path / "SET").err
    refused({"image": [1]}, "source: found a dict; pass a path, .* for arrays, call FeatureSet.from_arrays")


def test_ragged_lists_and_missing_values(tmp_path: Path) -> None:
    good = list(np.ones((3, 2), np.float32))
    for name, column, match in (
        ("ragged", [[1.0], [1.0, 2.0], [3.0]], "ragged.parquet: column 'a' has rows with 1 to 2 numbers"),
        ("empty", [[1.0], None, [2.0]], "column 'a' has missing values"),
        ("nested", [[[1.0], [2.0]], [], [[3.0]]], "row 1, 'a': the list is empty"),
        ("uneven", [[[1.0], [2.0, 3.0]], [[1.0]], [[3.0]]], "column 'a' has rows with 1 to 2 numbers"),
    ):
        pq.write_table(pa.table({"a": column, "b": good}), tmp_path / f"{name}.parquet")
        refused(tmp_path / f"{name}.parquet", match)


@pytest.mark.parametrize("writer", [pa.ipc.new_stream, pa.ipc.new_file])
def test_compressed_arrow_files_are_refused_before_they_are_read(tmp_path: Path, writer: Any) -> None:
    """A few bytes could take any amount of memory. Other .arrow files of both formats are read."""
    arrays = vectors()
    code = pa.array(["a"] * ROWS).dictionary_encode()
    table = pa.table({**{name: list(x) for name, x in arrays.items()}, "code": code})
    for compression in (None, "lz4", "zstd"):
        path = tmp_path / f"{compression}.arrow"
        with writer(path, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as file:
            file.write_table(table)
        if compression is None:
            assert sum(pack(path).rows.values()) == ROWS
        else:
            refused(
                path, rf"{compression}\.arrow: the columns are compressed; save them without compression, or as Parquet"
            )


def test_damaged_arrow_files_give_one_line(tmp_path: Path) -> None:
    made().save_to_disk(tmp_path)
    (path,) = tmp_path.glob("*.arrow")
    data = path.read_bytes()
    for damaged in (b"", b"ARROW1 and no more", data[:300], b"\xff" * 600):
        path.write_bytes(damaged)
        refused(tmp_path, "data-00000-of-00001.arrow: |rows")
    path.unlink()
    (tmp_path / "other.arrow").touch()
    refused(tmp_path, "the files listed in state.json are missing")
    for state in ("[]", "{}", '{"_data_files": [1]}'):
        (tmp_path / "state.json").write_text(state)
        refused(tmp_path, "state.json: ")
