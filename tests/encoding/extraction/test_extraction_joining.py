from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from encoding_problems import Files, Letters, files, write_manifest
from omnidistill.core.errors import InputError
from omnidistill.data.featureset import prepare
from omnidistill.data.store import load_features
from omnidistill.encoding.extraction import EncodeSettings, encode, join, save_encoded
from omnidistill.models.heads import load_heads

HERE = EncodeSettings(batch_size=2, shard_rows=5, num_workers=0)


def test_the_folder_becomes_a_set_with_the_heads_that_there_are(tmp_path: Path) -> None:
    out, encoders = tmp_path / "out", {"text": Letters(), "sound": Files(projection=True)}
    encode(write_manifest(tmp_path / "media"), encoders, out, settings=HERE)
    made = save_encoded(out, encoders)
    found, expected = load_features(out), prepare(join(out))
    assert found.split_sizes == {"train": 8, "validation": 2, "test": 2}
    for name in ("text", "sound"):
        assert torch.equal(found.features[name], expected.features[name])
        assert torch.equal(found.features[name], made.features[name])
    assert found.provenance["encoders"]["text"] == {"name": "letters", "scale": "1.0"}
    assert found.provenance["bad_items"] == 0
    heads, meta = load_heads(out / "heads", {"sound": 4})
    assert torch.equal(heads["sound"], torch.eye(4)[:3])
    assert meta["source"] == {"sound": "files"}


def test_rows_can_be_left_as_encoded(tmp_path: Path) -> None:
    out, encoders = tmp_path / "out", {"text": Letters(), "sound": Files()}
    encode(write_manifest(tmp_path / "media"), encoders, out, settings=HERE)
    made = save_encoded(out, encoders, standardise=False, centre=False)
    assert torch.equal(made.features["sound"], join(out).features["sound"].float())
    assert not (out / "heads").exists()


def test_saving_again_changes_nothing_and_encoding_goes_on(tmp_path: Path) -> None:
    out, encoders = tmp_path / "out", {"text": Letters(), "sound": Files(projection=True)}
    manifest = write_manifest(tmp_path / "media")
    encode(manifest, encoders, out, settings=HERE)
    save_encoded(out, encoders)
    before = files(out)
    encode(manifest, encoders, out, settings=HERE)
    save_encoded(out, encoders)
    assert files(out) == before


def test_what_is_no_finished_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no encoded\.json, so the encoding is not finished"):
        join(tmp_path)
    encode(write_manifest(tmp_path / "media"), {"text": Letters()}, tmp_path / "out", settings=HERE)
    with pytest.raises(InputError, match="a paired dataset needs at least two modalities"):
        save_encoded(tmp_path / "out", {"text": Letters()})


@pytest.mark.parametrize("keep_views", [True, False])
def test_a_set_of_many_shards_is_ordered_by_split_without_holding_them(tmp_path: Path, keep_views: bool) -> None:
    out, encoders = tmp_path / "out", {"text": Letters(), "sound": Files()}
    manifest = write_manifest(tmp_path / "media")
    turns = tuple(
        replace(row, split=("test", "train", "train", "validation")[n % 4]) for n, row in enumerate(manifest.rows)
    )
    small = EncodeSettings(batch_size=2, shard_rows=3, num_workers=0, keep_views=keep_views)
    encode(replace(manifest, rows=turns), encoders, out, settings=small)
    found, expected = save_encoded(out, encoders), prepare(join(out))
    assert found.splits == ("test",) * 3 + ("train",) * 6 + ("validation",) * 3
    for split in ("test", "train", "validation"):
        one, other = found.split(split), expected.split(split)
        assert one.ids == other.ids
        assert all(torch.equal(x, other.features[name]) for name, x in one.features.items())
