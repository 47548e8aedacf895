"""Folders of embeddings in numbered parts, as clip-retrieval writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from layout_files import ROWS, write_embeddings
from omnidistill.core.errors import InputError
from omnidistill.data.pack import pack
from omnidistill.data.parted_rows import PartedRows
from omnidistill.data.raw_input import read_raw
from omnidistill.data.store import load_features
from small_runs import cli


def test_a_folder_is_packed_by_its_path_alone(tmp_path: Path) -> None:
    arrays = write_embeddings(tmp_path / "emb")
    lines = cli("pack", tmp_path / "emb", "-o", tmp_path / "SET", "--no-standardise", "--no-centre").out.splitlines()
    data = load_features(tmp_path / "SET")
    assert data.widths == {"image": 5, "text": 4}
    order = [int(name) for name in data.ids]  # by split, and numbered in the order of the parts
    assert sorted(order) == list(range(ROWS))
    for name, x in arrays.items():
        assert torch.equal(data.features[name], torch.from_numpy(x[order]))
    assert set(data.split_sizes) == {"train", "validation", "test"}
    assert "note   no column 'id': rows are numbered; --id NAME names a column" in lines
    assert any("10 % each of the training groups, drawn at random, become validation and test" in x for x in lines)
    assert len(data.provenance["sources"]) == 6
    assert "contains features and no media; read it with" in cli("manifest", tmp_path / "emb", "-o", "m.csv").err
    assert "nothing: no such file or folder" in cli("pack", tmp_path / "nothing", "-o", tmp_path / "OTHER").err


def test_parts_are_in_the_order_of_their_numbers_and_mapped(tmp_path: Path) -> None:
    arrays = write_embeddings(tmp_path, (2,) * 11)  # 10 comes after 9, not after 1
    raw = read_raw(tmp_path)
    rows = torch.tensor([21, 3, 20, 0])
    assert np.array_equal(raw.read("image", rows).numpy(), arrays["image"][rows.numpy()])


def test_columns_of_the_metadata_are_used(tmp_path: Path) -> None:
    splits = ["train"] * 40 + ["val"] * 10 + ["test"] * 10
    columns = {"url": [f"u{row}" for row in range(ROWS)], "page": [row // 2 for row in range(ROWS)], "fold": splits}
    write_embeddings(tmp_path, **columns)
    data = pack(tmp_path, id_column="url", group_column="page", split_column="fold").data
    assert data.ids == tuple(columns["url"])
    assert data.groups[:4] == ("0", "0", "1", "1")
    assert data.split_sizes == {"train": 40, "validation": 10, "test": 10}
    with pytest.raises(InputError, match=r"the column 'pagge' is missing .*found the columns .*caption.*mean 'page'"):
        pack(tmp_path, group_column="pagge")


def test_a_separate_table_replaces_the_metadata(tmp_path: Path) -> None:
    write_embeddings(tmp_path / "emb")
    (tmp_path / "emb/metadata/metadata_0.parquet").unlink()
    (tmp_path / "emb/metadata/metadata_1.parquet").unlink()
    with pytest.raises(InputError, match=r"emb: the embeddings have no metadata .*pass a table .* table='FILE'"):
        pack(tmp_path / "emb")
    rows = [f"r{row};{'train' if row < 40 else 'validation' if row < 50 else 'test'}" for row in range(ROWS)]
    (tmp_path / "rows.csv").write_text("\n".join(["id;split", *rows]))
    assert pack(tmp_path / "emb", tmp_path / "rows.csv").data.ids[:2] == ("r0", "r1")


def test_parts_that_do_not_fit_together(tmp_path: Path) -> None:
    write_embeddings(tmp_path)
    np.save(tmp_path / "text_emb/text_emb_1.npy", np.ones((34, 4), np.float32))
    with pytest.raises(
        InputError, match=r"img_emb_1\.npy has 35 rows but text_emb_1\.npy has 34; files of the same part"
    ):
        pack(tmp_path)
    np.save(tmp_path / "text_emb/text_emb_1.npy", np.ones((35, 3), np.float32))
    with pytest.raises(InputError, match=r"'text': text_emb_1\.npy is 3 wide \(float32\), but text_emb_0\.npy is 4"):
        pack(tmp_path)
    np.save(tmp_path / "text_emb/text_emb_1.npy", np.ones((35, 4), np.float32))
    pq.write_table(pa.table({"caption": ["a"]}), tmp_path / "metadata/metadata_0.parquet")
    with pytest.raises(InputError, match=r"img_emb_0\.npy has 25 rows but metadata_0\.parquet has 1"):
        pack(tmp_path)
    (tmp_path / "text_emb/text_emb_1.npy").unlink()
    with pytest.raises(InputError, match="part 1 is in img_emb but not in text_emb"):
        pack(tmp_path)
    with pytest.raises(InputError, match=r"'imgemb' with embeddings .* columns: img_emb, text_emb; .*mean 'img_emb'"):
        pack(tmp_path, modalities={"image": "imgemb"})


def test_rows_that_are_repeated_are_read_from_their_parts() -> None:
    x = torch.arange(10.0).reshape(5, 2)
    rows = PartedRows.of("x", [("a", x[:2]), ("b", x[2:])]).repeated(torch.tensor([4, 4, 1, 0]))
    assert len(rows) == 4
    assert torch.equal(rows.read(torch.tensor([3, 0, 2])), x[[0, 4, 1]])
