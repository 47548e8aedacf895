"""Files that are damaged, forged or something else: one error naming file and field, never wrong data, nothing run."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from media_files import write_media
from omnidistill.core.errors import InputError
from omnidistill.encoding.media.container import MediaError
from omnidistill.encoding.media.probe import check_complete, probe
from omnidistill.encoding.media.sound import read_sound
from omnidistill.encoding.media.video import read_frames
from omnidistill.io import input_files
from omnidistill.io.artifacts import FileRecord, exclusive, load_artifact, read_tensors, save_artifact
from omnidistill.io.input_files import read_json
from torture.costly_files import COSTLY

META = {"size": 3, "rates": [0.1, 0.2, "é"]}


def tensors() -> dict[str, torch.Tensor]:
    return {"rows": torch.arange(12.0).reshape(3, 4), "codes": torch.tensor([1, 0, 2]), "few": torch.ones(5).bool()}


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    save_artifact(tmp_path / "set", "distilled", tensors(), META)
    return tmp_path / "set"


def fresh(folder: Path) -> Path:
    """The artifact again, copied: a property test saves too often for a disk that syncs."""
    if not (kept := folder.with_suffix(".kept")).exists():
        save_artifact(kept, "distilled", tensors(), META)
    shutil.rmtree(folder, ignore_errors=True)
    return Path(shutil.copytree(kept, folder))


def the_tensor_file(folder: Path) -> Path:
    (path,) = folder.glob("tensors-*.safetensors")
    return path


def assert_intact(folder: Path) -> None:
    loaded = load_artifact(folder, "distilled")
    assert loaded.meta == META
    assert set(loaded.tensors) == set(tensors())
    assert all(torch.equal(loaded.tensors[name], tensor) for name, tensor in tensors().items())


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_artifact(folder, "distilled")
    message = str(caught.value)
    assert str(folder) in message
    assert "\n" not in message
    return message


def forge(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the manifest and give it a true checksum, as someone who means harm would."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["sha256"]
    change(manifest)
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    path.write_text(json.dumps({**manifest, "sha256": hashlib.sha256(text.encode()).hexdigest()}))


def plant(folder: Path, data: bytes) -> None:
    """Put `data` in the place of the tensors, with true name, size and sha256 in the manifest."""
    the_tensor_file(folder).unlink()
    sha256 = hashlib.sha256(data).hexdigest()
    name = f"tensors-{sha256[:12]}.safetensors"
    (folder / name).write_bytes(data)
    forge(folder, lambda manifest: manifest.update(files=[{"name": name, "bytes": len(data), "sha256": sha256}]))


def test_the_forger_can_make_a_true_artifact(artifact: Path) -> None:
    plant(artifact, the_tensor_file(artifact).read_bytes())
    assert_intact(artifact)


@given(data=st.data())
@settings(deadline=None, max_examples=300)
def test_any_flipped_bytes_are_noticed_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = fresh(tmp_path_factory.getbasetemp() / "flipped")
    path = data.draw(st.sampled_from(sorted(folder.iterdir())))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        assert_intact(folder)
    except InputError as error:
        assert str(folder) in str(error)  # noqa: PT017


@pytest.mark.parametrize("name", ["manifest.json", "tensors"])
def test_every_truncation_is_noticed(artifact: Path, name: str) -> None:
    path = the_tensor_file(artifact) if name == "tensors" else artifact / name
    whole = path.read_bytes()
    for length in range(len(whole) - (name == "manifest.json")):  # the last byte of the manifest is a line ending
        path.write_bytes(whole[:length])
        assert path.name in refusal(artifact)
    path.write_bytes(whole)
    assert_intact(artifact)


def test_every_single_bit_of_the_tensors_counts(artifact: Path) -> None:
    path = the_tensor_file(artifact)
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ (1 << position % 8)]) + whole[position + 1 :])
        assert "sha256" in refusal(artifact)


def test_every_byte_of_the_manifest_counts(artifact: Path) -> None:
    path = artifact / "manifest.json"
    whole = path.read_bytes()
    for position in range(len(whole)):
        for other in b"0a ":
            altered = whole[:position] + bytes([other]) + whole[position + 1 :]
            path.write_bytes(altered)
            if altered.split() == whole.split():  # only white space became other white space
                assert_intact(artifact)
            else:
                assert "manifest.json" in refusal(artifact)


def test_missing_folder_manifest_or_tensors(artifact: Path, tmp_path: Path) -> None:
    assert "not an omnidistill artifact (no manifest.json)" in refusal(tmp_path / "nowhere")
    the_tensor_file(artifact).rename(artifact / "moved")
    assert "tensors-" in (message := refusal(artifact))
    assert "No such file" in message
    (artifact / "manifest.json").unlink()
    (artifact / ".omnidistill-temp-0123456789abcdef").write_bytes(b"left by a killed writer")
    assert "not an omnidistill artifact (no manifest.json)" in refusal(artifact)
    (tmp_path / "file").write_text("a file")
    assert "is a file, but an omnidistill artifact is a folder" in refusal(tmp_path / "file")


def test_a_dangling_temp_file_does_not_matter(artifact: Path) -> None:
    (artifact / ".omnidistill-temp-0123456789abcdef").write_bytes(b"left by a killed writer")
    assert_intact(artifact)


def test_other_kinds_and_newer_versions(artifact: Path) -> None:
    with pytest.raises(InputError, match=r"manifest\.json: this artifact is of kind 'distilled', expected 'heads'"):
        load_artifact(artifact, "heads")
    forge(artifact, lambda manifest: manifest.update(version=7, files="a shape that version 1 does not know"))
    assert "written by a newer version of omnidistill (format version 7, but this" in (message := refusal(artifact))
    assert "release reads only up to 1); upgrade" in message
    (artifact / "manifest.json").write_text('{"format": "omnidistill", "version": 2}')
    assert "(format version 2, but this release reads only up to 1); upgrade" in refusal(artifact)
    with pytest.raises(InputError, match="upgrade"):
        save_artifact(artifact, "distilled", {}, {})
    assert the_tensor_file(artifact).exists()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"format": "omnidistil"}, "'format' is 'omnidistil'"),
        ({"format": None}, "'format'"),
        ({"version": 0}, "'version' is 0"),
        ({"version": True}, "'version' is True"),
        ({"version": "1"}, "'version' is '1'"),
        ({"kind": ["distilled"]}, "this artifact is of kind ['distilled'], expected 'distilled'"),
        ({"meta": []}, "'meta'"),
        ({"files": []}, "'files'"),
        ({"files": {}}, "'files'"),
        ({"files": ["tensors"]}, "'files'"),
        ({"files": [{"name": "tensors"}]}, "'files'"),
        ({"surprise": 1}, "'surprise'"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_forged_fields_are_named(artifact: Path, change: dict[str, Any], field: str) -> None:
    forge(artifact, lambda manifest: manifest.update(change))
    assert "manifest.json" in (message := refusal(artifact))
    assert field in message


@pytest.mark.parametrize("missing", ["format", "version", "kind", "files", "meta"])
def test_missing_fields_are_named(artifact: Path, missing: str) -> None:
    forge(artifact, lambda manifest: manifest.pop(missing))
    assert missing in refusal(artifact)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../secret.safetensors"},
        {"name": "/tmp/secret.safetensors"},
        {"name": "below/secret.safetensors"},
        {"name": ".."},
        {"name": ""},
        {"name": "nul\0"},
        {"name": "manifest.json"},
        {"name": 3},
        {"sha256": "../../secre"},
        {"sha256": "../../secre", "name": "tensors-../../secre.safetensors"},
        {"sha256": None},
        {"bytes": "7"},
        {"bytes": -1},
        {"bytes": 10**30},
        {"surprise": 1},
    ],
    ids=str,
)
def test_forged_file_records_open_nothing_outside(artifact: Path, change: dict[str, Any]) -> None:
    shutil.copy(the_tensor_file(artifact), artifact.parent / "secret.safetensors")
    forge(artifact, lambda manifest: manifest["files"][0].update(change))
    assert "'files'" in (message := refusal(artifact)) or "expected" in message


def test_links_are_not_followed(artifact: Path) -> None:
    for path in (the_tensor_file(artifact), artifact / "manifest.json"):
        path.rename(artifact.parent / path.name)
        path.symlink_to(artifact.parent / path.name)
        assert f"{path.name}: is a symbolic link" in refusal(artifact)
        path.unlink()
        path.symlink_to("nowhere")
        assert f"{path.name}: is a symbolic link" in refusal(artifact)
        path.unlink()
        (artifact.parent / path.name).rename(path)
    assert_intact(artifact)


def test_a_tensor_file_of_the_users_may_be_a_link(artifact: Path) -> None:
    link = artifact.parent / "link.safetensors"
    link.symlink_to(the_tensor_file(artifact))
    assert torch.equal(read_tensors(link)["rows"], tensors()["rows"])


def test_pipes_folders_and_devices_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "pipe", tmp_path / "folder", Path("/dev/zero")):
        for read in (read_tensors, read_json):
            with pytest.raises(InputError, match=rf"{path}: is not a regular file"):
                read(path)
    with pytest.raises(InputError, match=r"nowhere: cannot be read .No such file"):
        read_tensors(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"cannot be read .embedded null"):
        read_json(Path("nul\0"))


def safetensors(header: Any, data: bytes = b"", stated_length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    length = len(text) if stated_length is None else stated_length
    return length.to_bytes(8, "little") + text + data


def entry(begin: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


HOSTILE = {
    "empty": b"",
    "shorter than a header length": b"\x10\0\0",
    "header longer than the file": safetensors({}, stated_length=1000),
    "header longer than memory": safetensors({}, stated_length=2**63),
    "header longer than any number": safetensors({}, stated_length=2**64 - 1),
    "header of no length": safetensors(b""),
    "header no JSON": safetensors(b"{]"),
    "header no object": safetensors([1]),
    "header no text": safetensors(b"\xff\xfe{}"),
    "header too deep": safetensors(b"[" * 100_000),
    "overlapping offsets": safetensors({"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}, bytes(12)),
    "same bytes twice": safetensors({"a": entry(0, 8, [2]), "b": entry(0, 8, [2])}, bytes(8)),
    "hole between tensors": safetensors({"a": entry(0, 4, [1]), "b": entry(8, 12, [1])}, bytes(12)),
    "offsets past the end": safetensors({"a": entry(0, 4000, [1000])}, bytes(8)),
    "offsets backwards": safetensors({"a": entry(8, 0, [2])}, bytes(8)),
    "offsets negative": safetensors({"a": entry(-8, 0, [2])}, bytes(8)),
    "offsets fractional": safetensors(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0.5,4.5]}}', bytes(8)),
    "data after the tensors": safetensors({"a": entry(0, 4, [1])}, bytes(8)),
    "shape of other size": safetensors({"a": entry(0, 8, [3])}, bytes(8)),
    "shape negative": safetensors({"a": entry(0, 8, [-2])}, bytes(8)),
    "shape overflowing": safetensors({"a": entry(0, 8, [2**62, 2**62])}, bytes(8)),
    "shape overflowing to nothing": safetensors({"a": entry(0, 0, [2**32, 2**32])}),
    "unknown dtype": safetensors({"a": entry(0, 8, [2], "F31")}, bytes(8)),
    "unknown dtype of two lines": safetensors({"a": entry(0, 8, [2], "F3\n1")}, bytes(8)),
    "dtype no text": safetensors({"a": {"dtype": 5, "shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
    "field missing": safetensors({"a": {"dtype": "F32", "shape": [2]}}, bytes(8)),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_safetensors(artifact: Path, case: str) -> None:
    path = artifact.parent / "features.safetensors"
    path.write_bytes(HOSTILE[case])
    with pytest.raises(InputError, match=r"features\.safetensors: ") as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value)
    plant(artifact, HOSTILE[case])
    assert "tensors-" in refusal(artifact)


def test_a_shape_with_a_zero_and_a_giant_is_refused_or_empty(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(safetensors({"a": entry(0, 0, [2**63 - 1, 0])}))
    try:
        assert read_tensors(path)["a"].numel() == 0
    except InputError as error:
        assert str(path) in str(error)  # noqa: PT017


class Bomb:
    """Unpickling this writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (self.target.write_text, ("boom",))


def as_torch_saves(value: Any, zipped: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def as_numpy_saves(save: Callable[..., None], value: Any) -> bytes:
    buffer = io.BytesIO()
    save(buffer, value)
    return buffer.getvalue()


def test_pickles_are_named_as_what_they_are_and_never_run(artifact: Path) -> None:
    target = artifact.parent / "exploded"
    bomb = Bomb(target)
    offered = {
        "a Python pickle": [pickle.dumps(bomb, protocol) for protocol in (2, 3, 4, 5)] + [as_torch_saves(bomb, False)],
        "a zip archive": [as_torch_saves(bomb, True), as_numpy_saves(np.savez, np.array([bomb], dtype=object))],
        "a NumPy array": [as_numpy_saves(np.save, np.array([bomb], dtype=object))],
    }
    for what, contents in offered.items():
        for content in contents:
            path = artifact.parent / "features.safetensors"
            path.write_bytes(content)
            with pytest.raises(
                InputError, match=rf"features\.safetensors: looks like {what}.*only safetensors files can be read"
            ):
                read_tensors(path)
            plant(artifact, content)
            assert f"looks like {what}" in refusal(artifact)
    (artifact.parent / "old").write_bytes(pickle.dumps(bomb, 0))
    with pytest.raises(InputError, match="not a complete safetensors file"):
        read_tensors(artifact.parent / "old")
    with pytest.raises(InputError, match="not valid JSON"):
        read_json(artifact.parent / "old")
    assert not target.exists()
    pickle.loads(pickle.dumps(bomb))  # the bomb is a live one
    assert target.exists()


def test_a_header_that_starts_as_a_pickle_does_is_still_read(tmp_path: Path) -> None:
    header = json.dumps({"a": entry(0, 4, [1])}).encode().ljust(0x280)
    data = safetensors(header, np.float32(1.5).tobytes())
    assert data[:2] == b"\x80\x02"
    (tmp_path / "t").write_bytes(data)
    assert read_tensors(tmp_path / "t")["a"].item() == 1.5


def test_a_record_is_held_against_the_file(artifact: Path) -> None:
    path = the_tensor_file(artifact)
    size, sha256 = path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()
    read_tensors(path, FileRecord(path.name, size, sha256))
    with pytest.raises(InputError, match=f"{size} bytes, expected {size + 1}"):
        read_tensors(path, FileRecord(path.name, size + 1, sha256))
    with pytest.raises(InputError, match="sha256"):
        read_tensors(path, FileRecord(path.name, size, "0" * 64))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not valid JSON"),
        (b"[1]", "expected a JSON object, found a list"),
        (b"null", "expected a JSON object, found a NoneType"),
        (b'{"a": 1} x', "not valid JSON"),
        (b'{"a": 1, "a": 2}', "a key occurs twice"),
        (b'{"a": {"b": 1, "b": 1}}', "a key occurs twice"),
        (b'{"a": NaN}', "NaN is not a finite number"),
        (b'{"a": -Infinity}', "-Infinity is not a finite number"),
        (b'{"a": 1e999}', "1e999 is not a finite number"),
        (b'{"a": "\xff"}', "not valid JSON"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
        ('{"a": 1}'.encode("utf-16"), "not valid JSON"),
        (b'{"a": ' + b"[" * 100_000, "not valid JSON"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "not valid JSON"),
    ],
    ids=lambda value: str(value[:24]) if isinstance(value, bytes) else None,
)
def test_bad_json(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "j.json").write_bytes(content)
    with pytest.raises(InputError, match=rf"j\.json: .*{why}") as caught:
        read_json(tmp_path / "j.json")
    assert "\n" not in str(caught.value)


def test_a_manifest_of_any_depth_is_read_or_refused(artifact: Path) -> None:
    for depth in (10, 100, *range(850, 1010), 100_000):
        deep = '{"format": "omnidistill", "version": 1, "meta": ' + "[" * depth + "]" * depth + "}"
        (artifact / "manifest.json").write_text(deep)
        assert "manifest.json" in refusal(artifact)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.floats(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=12,
    )
)
@settings(deadline=None, max_examples=100)
def test_forged_json_of_any_shape_is_refused(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    folder = fresh(tmp_path_factory.getbasetemp() / "forged")
    forge(folder, lambda manifest: manifest.update(files=value))
    assert "manifest.json" in refusal(folder)
    (folder / "manifest.json").write_text(json.dumps(value))
    assert "manifest.json" in refusal(folder)


def test_a_lock_file_that_says_nonsense(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_bytes(b"\xff\xfe not a pid" * 1000)
    with exclusive(tmp_path), pytest.raises(InputError, match="in use"), exclusive(tmp_path):
        pass


def test_small_media_files_that_take_much_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds cover what is read of a file. They are lowered here, so that tiny files exceed them."""
    too_much = "would take .* bytes in memory, more than .* times its size"
    sound = write_media(tmp_path / "s.wav", 0, 1, sound_rate=16_000, codecs=("", "pcm_s16le"))  # 64 kB for 2 s
    monkeypatch.setattr(input_files, "FREE_BYTES", 0)
    monkeypatch.setattr(input_files, "MOST_EXPANSION", 3)
    assert read_sound(sound, 16_000, 0.0, 0.1).shape == (1, 1600)
    with pytest.raises(MediaError, match=rf"s\.wav: {too_much}.*; pass the start and end of a shorter clip"):
        read_sound(sound, 16_000)
    video, times = write_media(tmp_path / "v.mp4", channels=0), [number / 24 for number in range(8)]
    monkeypatch.setattr(input_files, "FREE_BYTES", 2**16)  # 7 frames of 64 x 48 pixels
    monkeypatch.setattr(input_files, "MOST_EXPANSION", 0)
    assert read_frames(video, times[:7]).shape == (7, 3, 48, 64)
    with pytest.raises(MediaError, match=rf"v\.mp4: {too_much}.*; reduce .* fewer frames"):
        read_frames(video, times)
    monkeypatch.setattr(input_files, "FREE_BYTES", 12 * 64 * 48 - 1)  # not even one frame can be decoded
    for read in (probe, check_complete, lambda path: read_frames(path, times[:1])):
        with pytest.raises(MediaError, match=rf"v\.mp4: ({too_much}|.*a frame has more than 3,071 pixels)"):
            read(video)


def test_a_sound_of_few_samples_per_second_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.wav"
    COSTLY["wav at 1 Hz"][1](path)
    with pytest.raises(MediaError, match=r"s\.wav: would take .* in memory, more than 100 times its size of 20,044"):
        read_sound(path, 16_000)
    assert read_sound(path, 16_000, 0.0, 2.0).shape == (1, 32_000)
