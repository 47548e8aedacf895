from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from encoding_problems import TEXTS, Files, Letters, files, write_manifest
from omnidistill.core.errors import InputError
from omnidistill.encoding.extraction import EncodeSettings, encode, join
from omnidistill.encoding.extraction.shards import load_shard, shard_folder
from omnidistill.encoding.manifests.manifest import Manifest, Row
from omnidistill.io.tracking import SilentProgress

HERE = EncodeSettings(batch_size=2, shard_rows=5, num_workers=0)


def encoders() -> dict[str, Any]:
    return {"text": Letters(), "sound": Files()}


class Interrupt(SilentProgress):
    """Ends the run after so many items."""

    def __init__(self, after: int) -> None:
        self.left = after

    def advance(self, n: int = 1, **fields: Any) -> None:
        self.left -= n
        if self.left < 0:
            raise KeyboardInterrupt


class NoteRecorder(SilentProgress):
    def __init__(self) -> None:
        self.started: list[tuple[int, str, int]] = []
        self.advanced = 0
        self.fields: set[str] = set()

    def start(self, total: int, label: str, done: int = 0, seconds: float = 0.0) -> None:
        self.started.append((total, label, done))

    def advance(self, n: int = 1, **fields: Any) -> None:
        self.advanced += n
        self.fields |= set(fields)


def test_features_are_the_encoders_and_views_are_averaged(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "media")
    encoded = encode(manifest, encoders(), tmp_path / "out", settings=HERE)
    assert (encoded.rows, encoded.bad, encoded.shards) == (12, (), 3)
    found = join(tmp_path / "out")
    assert found.ids == tuple(row.id for row in manifest.rows)
    assert found.groups == tuple(row.group for row in manifest.rows)
    assert found.splits == tuple(row.split for row in manifest.rows)
    counts = torch.tensor([[text.count(chr(97 + letter)) for letter in range(26)] for text in TEXTS])
    assert found.features["text"].dtype == torch.float16
    assert torch.equal(found.features["text"].long(), counts)
    assert torch.equal(found.features["sound"][:, 0].long(), torch.arange(12))
    assert found.features["sound"].shape == (12, 4)


def test_views_are_kept_on_request(tmp_path: Path) -> None:
    data = [bytes([n, 0, 0, 0, 2 * n, 0, 0, 0, 3 * n, 0, 0, 1]) for n in range(6)]
    settings = dataclasses.replace(HERE, keep_views=True, dtype="float32")
    encode(write_manifest(tmp_path / "media", data), encoders(), tmp_path / "out", settings=settings)
    views = load_shard(shard_folder(tmp_path / "out", 0)).features["sound"]
    assert views.shape == (5, 3, 4)
    assert torch.equal(views[:, :, 0], torch.arange(5.0)[:, None] * torch.tensor([1.0, 2.0, 3.0]))
    assert torch.equal(join(tmp_path / "out").features["sound"][:, 0], 2 * torch.arange(6.0))


def test_items_of_one_shape_share_a_batch_within_their_shard(tmp_path: Path) -> None:
    letters = Letters()
    encode(write_manifest(tmp_path / "media"), {"text": letters}, tmp_path / "out", settings=HERE)
    # texts of 3 and 2 letters in turns: 3 + 2, then 2 + 3, then 1 + 1 of them
    assert letters.calls == [2, 2, 1, 2, 2, 1, 1, 1]


@pytest.mark.parametrize("after", [0, 9, 10, 13, 23])
def test_a_run_cut_anywhere_goes_on_to_the_same_bits(tmp_path: Path, after: int) -> None:
    manifest = write_manifest(tmp_path / "media")
    encode(manifest, encoders(), tmp_path / "whole", settings=HERE)
    with pytest.raises(KeyboardInterrupt):
        encode(manifest, encoders(), tmp_path / "cut", settings=HERE, progress=Interrupt(after))
    with pytest.raises(InputError, match="not finished"):
        join(tmp_path / "cut")
    progress = NoteRecorder()
    encode(manifest, encoders(), tmp_path / "cut", settings=HERE, progress=progress)
    kept = 10 * (after // 10)
    assert progress.started == [(24, "encode", kept)]
    assert progress.advanced == 24 - kept
    whole, cut = files(tmp_path / "whole"), files(tmp_path / "cut")
    assert {name: whole[name] for name in whole if name != ".lock"} == {n: cut[n] for n in cut if n != ".lock"}


def test_worker_processes_change_no_bit_and_a_killed_one_costs_its_item(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "media")
    (tmp_path / "media" / "3.bin").write_bytes(b"kill")
    (tmp_path / "media" / "2.bin").write_bytes(b"slow")  # so that others are under way when the process ends
    settings = dataclasses.replace(HERE, num_workers=2)
    encoded = encode(manifest, encoders(), tmp_path / "two", settings=settings)
    assert [(item.id, item.modality, item.why) for item in encoded.bad] == [
        ("row 3", "sound", "decoding it crashed the worker process")
    ]
    (tmp_path / "media" / "3.bin").write_bytes(b"")  # a bad item of another kind
    encode(manifest, encoders(), tmp_path / "none", settings=HERE)
    one, two = join(tmp_path / "none"), join(tmp_path / "two")
    assert one.ids == two.ids
    assert all(torch.equal(one.features[name], two.features[name]) for name in one.features)


def test_a_bad_item_costs_its_row_and_is_named(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "media")
    (tmp_path / "media" / "4.bin").write_bytes(b"")
    (tmp_path / "media" / "9.bin").unlink()
    rows = list(manifest.rows)
    rows[9] = dataclasses.replace(rows[9], media={"text": " ", "sound": "9.bin"})
    manifest = Manifest(tuple(rows), manifest.kinds, manifest.root)
    progress = NoteRecorder()
    encoded = encode(manifest, encoders(), tmp_path / "out", settings=HERE, progress=progress)
    assert encoded.rows == 10
    assert [(item.id, item.modality) for item in encoded.bad] == [
        ("row 4", "sound"),
        ("row 9", "sound"),
        ("row 9", "text"),
    ]
    assert progress.fields == {"items_per_s", "bad"}
    lines = encoded.lines()
    assert lines[0] == "rows   10 encoded, 2 dropped"
    assert lines[1] == "bad    row 4, sound: 4.bin: is empty"
    assert "No such file" in lines[2]
    assert encoded.lines(most=1)[-1].startswith("       and 2 more, see ")
    told = json.loads((tmp_path / "out" / "encoded.json").read_text())
    assert [item["id"] for item in told["bad"]] == ["row 4", "row 9", "row 9"]
    assert "row 4" not in join(tmp_path / "out").ids


def test_a_file_that_arrives_late_is_encoded_then_and_nothing_else(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "media")
    (tmp_path / "media" / "7.bin").unlink()
    assert encode(manifest, encoders(), tmp_path / "out", settings=HERE).rows == 11
    (tmp_path / "media" / "7.bin").write_bytes(b"here now")
    progress = NoteRecorder()
    assert encode(manifest, encoders(), tmp_path / "out", settings=HERE, progress=progress).rows == 12
    assert progress.started == [(24, "encode", 14)]


def test_a_limit_can_be_lifted_and_lowered(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "media")
    assert encode(manifest, encoders(), tmp_path / "out", settings=HERE, limit=7).rows == 7
    progress = NoteRecorder()
    assert encode(manifest, encoders(), tmp_path / "out", settings=HERE, progress=progress).rows == 12
    assert progress.started == [(24, "encode", 10)]
    encode(manifest, encoders(), tmp_path / "out", settings=HERE, limit=5)
    assert len(join(tmp_path / "out").ids) == 5
    assert not shard_folder(tmp_path / "out", 1).exists()


def test_a_finished_encoding_is_left_as_it_is(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "media")
    encode(manifest, encoders(), tmp_path / "out", settings=HERE)
    before, letters = files(tmp_path / "out"), Letters()
    encode(manifest, {"text": letters, "sound": Files()}, tmp_path / "out", settings=HERE)
    assert files(tmp_path / "out") == before
    assert letters.calls == []


def test_a_damaged_shard_is_made_again(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "media")
    encode(manifest, encoders(), tmp_path / "out", settings=HERE)
    before = files(tmp_path / "out")
    tensors = next(shard_folder(tmp_path / "out", 1).glob("*.safetensors"))
    tensors.write_bytes(tensors.read_bytes()[:-1] + b"\xff")
    encode(manifest, encoders(), tmp_path / "out", settings=HERE)
    assert files(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("given", "changes", "message"),
    [
        ({"text": Letters(2.0), "sound": Files()}, {}, r"text scale: 1\.0 before, 2\.0 now"),
        ({"text": Letters()}, {}, r"sound name: files before, None now"),
        ({}, {"batch_size": 3}, r"batch_size: 2 before, 3 now"),
        ({}, {"dtype": "float32"}, r"dtype: float16 before, float32 now"),
        ({}, {"keep_views": True}, r"keep_views: False before, True now"),
        ({}, {"shard_rows": 4}, r"shard_rows: 5 before, 4 now"),
    ],
)
def test_a_folder_of_other_encoders_or_settings_is_refused(
    tmp_path: Path, given: Mapping[str, Any], changes: Mapping[str, Any], message: str
) -> None:
    manifest = write_manifest(tmp_path / "media")
    encode(manifest, encoders(), tmp_path / "out", settings=HERE)
    before = files(tmp_path / "out")
    with pytest.raises(InputError, match=message) as caught:
        encode(manifest, given or encoders(), tmp_path / "out", settings=dataclasses.replace(HERE, **changes))
    assert "\n" not in str(caught.value)
    assert files(tmp_path / "out") == before


def test_shards_without_the_record_of_their_encoders_are_refused(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "media")
    encode(manifest, encoders(), tmp_path / "out", settings=HERE)
    (tmp_path / "out" / "encoders.json").unlink()
    with pytest.raises(InputError, match=r"encoders\.json"):
        encode(manifest, encoders(), tmp_path / "out", settings=HERE)
    assert not (tmp_path / "out" / "encoders.json").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "no encoders"),
        (
            {"txt": Letters()},
            r"'txt' is not a column of the manifest; the modality columns are text, sound; did you mean 'text'\?",
        ),
        ({"sound": Letters()}, r"modality 'sound': the column contains audio, but encoder 'letters' reads text"),
    ],
)
def test_encoders_that_do_not_fit_the_manifest_are_refused(
    tmp_path: Path, given: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        encode(write_manifest(tmp_path / "media"), given, tmp_path / "out", settings=HERE)
    assert not (tmp_path / "out").exists()


def test_a_row_without_a_modality_is_refused(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "media")
    rows = (*manifest.rows[:3], Row("bare", "bare", "train", {"text": "a"}), *manifest.rows[3:])
    with pytest.raises(InputError, match=r"modality 'sound' is missing in 1 rows \(the first is 'bare'\)"):
        encode(Manifest(rows, manifest.kinds, manifest.root), encoders(), tmp_path / "out", settings=HERE)


def test_sound_is_taken_from_videos_too(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "media")
    videos = Manifest(manifest.rows, {"text": "text", "sound": "video"}, manifest.root)
    assert encode(videos, encoders(), tmp_path / "out", settings=HERE).rows == 12


def test_a_link_out_of_the_root_is_a_bad_item(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "media")
    (tmp_path / "secret.bin").write_bytes(b"secret")
    (tmp_path / "media" / "6.bin").unlink()
    (tmp_path / "media" / "6.bin").symlink_to(tmp_path / "secret.bin")
    encoded = encode(manifest, encoders(), tmp_path / "out", settings=HERE)
    assert [item.id for item in encoded.bad] == ["row 6"]
    assert "leads out of" in encoded.bad[0].why


def test_when_nothing_can_be_encoded_the_first_reason_is_told(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "media", [b""] * 12)
    with pytest.raises(
        InputError,
        match=r"none of the first 5 rows could be encoded; .* \(first error, in row 'row 0', modality 'sound': 0\.bin",
    ):
        encode(manifest, encoders(), tmp_path / "out", settings=HERE)
    assert encode(manifest, {"text": Letters(2.0)}, tmp_path / "out", settings=HERE).rows == 12  # another choice


def test_features_that_cannot_be_stored_are_bad(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "media")

    class Large(Letters):
        def encode(self, batch: Tensor) -> Tensor:
            found = super().encode(batch)
            found[(batch == 25).any(1)] = 1e5  # the texts with a z
            return found

    half = encode(manifest, {"text": Large(), "sound": Files()}, tmp_path / "half", settings=HERE)
    assert [(item.id, item.why) for item in half.bad] == [
        ("row 10", "the feature contains NaN or Inf, or is too large for float16")
    ]
    single = dataclasses.replace(HERE, dtype="float32")
    assert encode(manifest, {"text": Large(), "sound": Files()}, tmp_path / "single", settings=single).bad == ()


def test_an_encoder_that_breaks_its_promise_is_named(tmp_path: Path) -> None:
    class Flat(Letters):
        def encode(self, batch: Tensor) -> Tensor:
            return super().encode(batch)[:, 0]

    with pytest.raises(InputError, match=r"encoder 'letters' returned features of shape \(2, 26\) for 2 items"):
        encode(write_manifest(tmp_path / "media"), {"text": Flat()}, tmp_path / "out", settings=HERE)


@pytest.mark.parametrize("field", ["batch_size", "shard_rows", "num_workers"])
def test_settings_have_a_range(field: str) -> None:
    with pytest.raises(InputError, match=f"{field} is -1, but must be at least"):
        EncodeSettings(**{field: -1})


def test_what_is_cut_is_counted_in_rows_that_are_kept(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "media")
    (tmp_path / "media" / "4.bin").write_bytes(b"")  # its text is one of the long ones
    given = {"text": Letters(longest=2), "sound": Files()}
    encoded = encode(manifest, given, tmp_path / "out", settings=HERE)
    assert encoded.cut == {"text": sum(len(text) == 3 for text in TEXTS) - 1} == {"text": 5}
    assert encoded.lines()[-1] == "cut    text: 5 items truncated because they are longer than the encoder reads"
    assert json.loads((tmp_path / "out" / "encoded.json").read_text())["cut"] == {"text": 5}
    assert encode(manifest, given, tmp_path / "out", settings=HERE).cut == {"text": 5}
    assert not any(
        line.startswith("cut") for line in encode(manifest, encoders(), tmp_path / "b", settings=HERE).lines()
    )
