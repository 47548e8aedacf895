from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError

from omnidistill.core.errors import InputError
from omnidistill.io.artifacts import (
    FileRecord,
    Pieces,
    artifact_bytes,
    exclusive,
    load_artifact,
    read_tensors,
    save_artifact,
    tensor_file,
    write_atomic,
    write_tensors,
)
from omnidistill.io.input_files import read_json

EVERY_DTYPE = [
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
]


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Bit for bit: dtype, shape and bytes (NaN equals itself)."""
    raw = [torch.empty(x.shape, dtype=x.dtype).copy_(x).flatten().view(torch.uint8) for x in (a, b)]
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(*raw)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def awkward() -> dict[str, torch.Tensor]:
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    return {
        "transposed": base.T,
        "strided": base[:, ::3],
        "expanded": torch.ones(1, 3).expand(5, 3),
        "row": base[1],
        "the same storage again": base,
        "one of a stride": torch.arange(6.0)[1:2].as_strided((1,), (2,), 3),
        "negated view": torch.tensor([1 + 2j]).conj().imag,
        "scalar": torch.tensor(0.5, dtype=torch.float64),
        "empty": torch.zeros(0, 7),
        "with gradient": torch.ones(2, requires_grad=True),
        "nan and inf": torch.tensor([float("nan"), float("inf"), -0.0]),
        'név "quoted"\n': torch.ones(1),
        "": torch.zeros(1),
        **{str(dtype): torch.arange(5).to(dtype) for dtype in EVERY_DTYPE},
    }


def test_awkward_tensors_come_back_bit_for_bit(tmp_path: Path) -> None:
    tensors = awkward()
    record = write_tensors(tmp_path / "t.safetensors", tensors)
    read = read_tensors(tmp_path / "t.safetensors", record)
    assert set(read) == set(tensors)
    for name, tensor in tensors.items():
        assert same(read[name], tensor.detach().resolve_neg()), name


def test_bytes_are_those_of_the_reference_writer(tmp_path: Path) -> None:
    tensors = {
        name: tensor.detach().resolve_neg().clone(memory_format=torch.contiguous_format)
        for name, tensor in awkward().items()
    }
    for content in (tensors, {}):
        record = write_tensors(tmp_path / "t", content)
        data = (tmp_path / "t").read_bytes()
        assert data == safetensors.torch.save(content)
        assert record == FileRecord("t", len(data), hashlib.sha256(data).hexdigest())


def test_tensor_larger_than_one_written_piece(tmp_path: Path) -> None:
    tensor = torch.arange(5 * 2**20 + 3)
    record = write_tensors(tmp_path / "t", {"a": tensor, "b": tensor.flip(0)})
    read = read_tensors(tmp_path / "t", record)
    assert torch.equal(read["a"], tensor)
    assert torch.equal(read["b"], tensor.flip(0))


@given(
    shape=st.lists(st.integers(0, 4), max_size=4),
    dtype=st.sampled_from(EVERY_DTYPE),
    order=st.randoms(use_true_random=False),
    step=st.integers(1, 3),
    name=st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(lambda name: name != "__metadata__"),
)
@settings(deadline=None, max_examples=60)
def test_any_shape_stride_dtype_and_name_come_back(
    tmp_path_factory: pytest.TempPathFactory, shape: list[int], dtype: torch.dtype, order: Any, step: int, name: str
) -> None:
    generator = torch.Generator().manual_seed(order.randrange(2**32))
    tensor = torch.randint(0, 100, [size * step for size in shape], generator=generator).to(dtype)
    tensor = tensor[tuple(slice(None, None, step) for _ in shape)].permute(order.sample(range(len(shape)), len(shape)))
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    assert same(read_tensors(path, write_tensors(path, {name: tensor}))[name], tensor)


def test_artifact_comes_back_with_its_meta(tmp_path: Path) -> None:
    meta = {
        "text": "é\n",
        "number": -0.1,
        "tuple": (1, (2, 3)),
        "none": None,
        "flag": True,
        "deep": {"a": [{"b": 2**70}]},
    }
    save_artifact(tmp_path / "new" / "folder", "heads", awkward(), meta)
    artifact = load_artifact(tmp_path / "new" / "folder", "heads")
    assert artifact.meta == json.loads(json.dumps(meta))
    assert same(artifact.tensors["transposed"], awkward()["transposed"])
    data = (tmp_path / "new" / "folder" / artifact.files[0].name).read_bytes()
    assert artifact.files[0].sha256 == hashlib.sha256(data).hexdigest()
    assert artifact.files[0].name == f"tensors-{artifact.files[0].sha256[:12]}.safetensors"


def test_manifest_is_what_the_format_says(tmp_path: Path) -> None:
    save_artifact(tmp_path, "heads", {"a": torch.ones(2)}, {"x": 1.5})
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    stated = manifest.pop("sha256")
    assert stated == hashlib.sha256(json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    assert {key: manifest[key] for key in ("format", "version", "kind", "meta")} == {
        "format": "omnidistill",
        "version": 1,
        "kind": "heads",
        "meta": {"x": 1.5},
    }
    (file,) = manifest["files"]
    assert (tmp_path / file["name"]).stat().st_size == file["bytes"]


def test_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    a, b = torch.arange(3.0), torch.ones(2, dtype=torch.int64)
    save_artifact(tmp_path / "1", "heads", {"a": a, "b": b}, {"x": 1})
    save_artifact(tmp_path / "2", "heads", {"b": b, "a": a}, {"x": 1})
    for name in files(tmp_path / "1"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_saving_again_leaves_only_the_new_version_and_what_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "other.safetensors").write_bytes(b"mine")
    for value in (1.0, 2.0, 2.0):
        save_artifact(tmp_path, "heads", {"a": torch.tensor(value)}, {"value": value})
        artifact = load_artifact(tmp_path, "heads")
        assert artifact.tensors["a"].item() == artifact.meta["value"] == value
        assert files(tmp_path) == {"notes.txt", "other.safetensors", "manifest.json", artifact.files[0].name}


def test_loaded_tensors_outlive_a_new_version(tmp_path: Path) -> None:
    save_artifact(tmp_path, "heads", {"a": torch.full((10_000,), 1.0)}, {})
    old = load_artifact(tmp_path, "heads").tensors["a"]
    save_artifact(tmp_path, "heads", {"a": torch.full((10_000,), 2.0)}, {})
    assert torch.equal(old, torch.full((10_000,), 1.0))


def test_an_artifact_can_be_saved_from_its_own_mapped_tensors(tmp_path: Path) -> None:
    save_artifact(tmp_path, "heads", {"a": torch.arange(10_000)}, {"step": 1})
    save_artifact(tmp_path, "heads", load_artifact(tmp_path, "heads").tensors, {"step": 2})
    assert torch.equal(load_artifact(tmp_path, "heads").tensors["a"], torch.arange(10_000))


def test_reading_maps_the_file_and_takes_no_memory_before_use(tmp_path: Path) -> None:
    size_bytes = 128 * 2**20
    record = write_tensors(tmp_path / "t", {"a": torch.ones(size_bytes // 4), "b": torch.ones(3)})

    def resident_bytes() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = resident_bytes()
    read = read_tensors(tmp_path / "t", record)
    assert resident_bytes() - before < size_bytes / 8
    assert read["a"].sum().item() == size_bytes // 4
    assert resident_bytes() - before > size_bytes / 2  # the measure does see a mapping that is used


def test_writing_holds_no_second_copy(tmp_path: Path) -> None:
    size_bytes = 128 * 2**20
    code = (
        "import re, sys, torch; from pathlib import Path; from omnidistill.io.artifacts import write_tensors\n"
        "def peak(): return int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
        f"t = torch.ones({size_bytes // 4}); write_tensors(Path(sys.argv[1]) / 'small', dict(a=t[:9]))\n"
        "before = peak(); write_tensors(Path(sys.argv[1]) / 'large', dict(a=t)); print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < size_bytes / 4


def test_a_reader_between_two_versions_gets_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from omnidistill.io.artifacts import artifact as module

    save_artifact(tmp_path, "heads", {"a": torch.tensor(1.0)}, {"value": 1.0})
    check = module.check

    def check_after_a_writer_came(*arguments: Any) -> None:
        monkeypatch.setattr(module, "check", check)
        save_artifact(tmp_path, "heads", {"a": torch.tensor(2.0)}, {"value": 2.0})
        check(*arguments)

    monkeypatch.setattr(module, "check", check_after_a_writer_came)
    artifact = load_artifact(tmp_path, "heads")
    assert artifact.tensors["a"].item() == artifact.meta["value"] == 2.0


def test_verify_false_still_compares_sizes(tmp_path: Path) -> None:
    save_artifact(tmp_path, "heads", {"a": torch.ones(8)}, {})
    path = tmp_path / load_artifact(tmp_path, "heads").files[0].name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"\1")
    load_artifact(tmp_path, "heads", verify=False)
    with pytest.raises(InputError, match="sha256"):
        load_artifact(tmp_path, "heads")
    path.write_bytes(whole + b"\0")
    with pytest.raises(InputError, match=f"{len(whole) + 1} bytes, expected {len(whole)}"):
        load_artifact(tmp_path, "heads", verify=False)


@pytest.mark.parametrize(
    ("tensor", "name"),
    [
        (torch.ones(2, dtype=torch.complex64), "a"),
        (torch.ones(2, 2).to_sparse(), "a"),
        (torch.ones(2, device="meta"), "a"),
        (torch.ones(2), "__metadata__"),
    ],
)
def test_tensors_that_cannot_be_stored_are_refused(tmp_path: Path, tensor: torch.Tensor, name: str) -> None:
    with pytest.raises(InputError, match=f"t.safetensors: tensor '{name}'.*dense tensor of one of the types BOOL"):
        write_tensors(tmp_path / "t.safetensors", {"fine": torch.ones(1), name: tensor})
    assert not files(tmp_path)


@pytest.mark.parametrize(
    ("meta", "field"),
    [
        ({"loss": {"best": float("nan")}}, "meta.loss.best: nan"),
        ({"losses": [1.0, float("inf")]}, r"meta.losses\[1\]: inf"),
        ({"rows": torch.ones(2)}, "meta.rows: a Tensor"),
        ({"steps": {1: 2}}, "meta.steps: a dict"),
        ({"path": Path("x")}, "meta.path: a PosixPath"),
    ],
)
def test_meta_that_json_cannot_keep_is_refused(tmp_path: Path, meta: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError, match=field):
        save_artifact(tmp_path / "new", "heads", {}, meta)
    assert not (tmp_path / "new").exists()


def test_saving_refuses_another_kind_a_file_and_a_damaged_manifest(tmp_path: Path) -> None:
    save_artifact(tmp_path / "heads", "heads", {"a": torch.ones(1)}, {"x": 1})
    kept = {name: (tmp_path / "heads" / name).read_bytes() for name in files(tmp_path / "heads")}
    with pytest.raises(InputError, match=r"manifest\.json: this artifact is of kind 'heads', expected 'distilled'"):
        save_artifact(tmp_path / "heads", "distilled", {"a": torch.zeros(1)}, {})
    assert kept == {name: (tmp_path / "heads" / name).read_bytes() for name in files(tmp_path / "heads")}

    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=rf"{folder}: .*choose another folder"):
            save_artifact(folder, "heads", {}, {})
    assert (tmp_path / "file").read_text() == "mine"

    (tmp_path / "npm").mkdir()
    (tmp_path / "npm" / "manifest.json").write_text('{"name": "theirs"}')
    with pytest.raises(InputError, match="field 'format' is None, expected 'omnidistill'"):
        save_artifact(tmp_path / "npm", "heads", {}, {})
    assert files(tmp_path / "npm") == {"manifest.json"}


def test_write_atomic_replaces_and_makes_parents(tmp_path: Path) -> None:
    for data in (b"one", b"", b"three"):
        write_atomic(tmp_path / "a" / "b" / "file", data)
        assert (tmp_path / "a" / "b" / "file").read_bytes() == data
    assert files(tmp_path) == {"a/b/file"}


def test_write_atomic_keeps_to_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomic(tmp_path / "file", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_read_json(tmp_path: Path) -> None:
    (tmp_path / "j").write_text('{"a": [1, 2.5, null, "é"]}', encoding="utf-8")
    assert read_json(tmp_path / "j") == {"a": [1, 2.5, None, "é"]}


def test_exclusive_refuses_a_second_writer_and_lets_go(tmp_path: Path) -> None:
    with exclusive(tmp_path / "run"):
        with pytest.raises(InputError, match="run: this folder is in use by another process"):  # noqa: SIM117
            with exclusive(tmp_path / "run"):
                pass
        save_artifact(tmp_path / "run", "heads", {"a": torch.ones(1)}, {})
    with exclusive(tmp_path / "run"):
        load_artifact(tmp_path / "run", "heads")


def test_exclusive_lets_go_when_the_body_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyError), exclusive(tmp_path):
        raise KeyError
    with exclusive(tmp_path):
        pass


def test_exclusive_does_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "precious")
    with pytest.raises(InputError, match=r"\.lock: this lock file is a symbolic link"), exclusive(tmp_path / "run"):
        pass
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is mapped as large ones are."""
    monkeypatch.setattr("omnidistill.io.artifacts.tensor_file._LARGE_BYTES", 0)


@pytest.mark.usefixtures("ours")
def test_a_large_file_comes_back_as_a_small_one_does(tmp_path: Path) -> None:
    write_tensors(tmp_path / "t", awkward())
    read, reference = read_tensors(tmp_path / "t"), safetensors.torch.load_file(tmp_path / "t")
    assert list(read) == list(reference)
    assert all(same(read[name], tensor) for name, tensor in reference.items())


@pytest.mark.usefixtures("ours")
def test_what_other_writers_do_is_read_too(tmp_path: Path) -> None:
    """Types that we do not write, a header of any length, metadata."""
    eight_bits = {"x": torch.ones(3).to(torch.float8_e4m3fn), "y": torch.ones(2)}
    safetensors.torch.save_file(eight_bits, tmp_path / "eight", {"by": "another"})
    read = read_tensors(tmp_path / "eight")
    assert all(same(read[name], tensor) for name, tensor in eight_bits.items())
    header = json.dumps({"z": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    for pad in range(4):
        text = header + b" " * pad
        (tmp_path / "odd").write_bytes(
            len(text).to_bytes(8, "little") + text + torch.tensor([1.5, -2]).numpy().tobytes()
        )
        assert read_tensors(tmp_path / "odd")["z"].tolist() == [1.5, -2]


@pytest.mark.usefixtures("ours")
def test_a_large_file_that_is_damaged_is_refused(tmp_path: Path) -> None:
    write_tensors(tmp_path / "t", {"x": torch.arange(100.0)})
    data = (tmp_path / "t").read_bytes()
    for cut in (0, 4, 20, len(data) - 1):
        (tmp_path / "t").write_bytes(data[:cut])
        with pytest.raises(InputError, match="not a complete safetensors file"):
            read_tensors(tmp_path / "t")


@pytest.mark.usefixtures("ours")
def test_what_is_written_to_a_mapped_tensor_never_reaches_the_file(tmp_path: Path) -> None:
    write_tensors(tmp_path / "t", {"x": torch.zeros(5000)})
    mine, other = read_tensors(tmp_path / "t")["x"], read_tensors(tmp_path / "t")["x"]
    mine += 1
    assert (mine.sum(), other.sum(), read_tensors(tmp_path / "t")["x"].sum()) == (5000, 0, 0)


def test_a_file_larger_than_memory_is_mapped(tmp_path: Path) -> None:
    """Sparse, so that it takes no disk either."""
    count = 2 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    header = json.dumps({"x": {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}}).encode()
    header += b" " * (-len(header) % 8)
    with (tmp_path / "t").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 4 * count)
        file.seek(-4, os.SEEK_END)
        file.write(torch.tensor(7.0).numpy().tobytes())
    x = read_tensors(tmp_path / "t")["x"]
    assert (len(x), float(x[0]), float(x[-1])) == (count, 0, 7)


@pytest.mark.parametrize("rows", [1, 3, 10])
def test_a_tensor_in_pieces_makes_the_same_file(tmp_path: Path, rows: int) -> None:
    x = torch.arange(30.0).reshape(10, 3).half()
    others = {"b": torch.arange(4), "": torch.ones(2).double()}
    whole = write_tensors(tmp_path / "whole", {"x": x, **others})
    pieces = write_tensors(tmp_path / "pieces", {"x": Pieces((10, 3), x.dtype, lambda: x.split(rows)), **others})
    assert pieces == FileRecord("pieces", whole.bytes, whole.sha256)


def test_pieces_that_are_not_what_they_promise_leave_what_was_there(tmp_path: Path) -> None:
    save_artifact(tmp_path / "a", "heads", {"x": torch.ones(2)}, {})
    before = files(tmp_path)
    for made in ([torch.ones(3)], [torch.ones(2), torch.ones(3)]):
        pieces = Pieces((4,), torch.float32, lambda made=made: made)
        with pytest.raises(InputError, match=r"'x' have \d+ bytes, but its shape and dtype need 16 bytes"):
            save_artifact(tmp_path / "a", "heads", {"x": pieces}, {})
    with pytest.raises(InputError, match=r"'x' \(torch.complex64\) cannot be stored"):
        save_artifact(tmp_path / "a", "heads", {"x": Pieces((1,), torch.complex64, list)}, {})
    assert files(tmp_path) == before
    assert torch.equal(load_artifact(tmp_path / "a", "heads").tensors["x"], torch.ones(2))


@given(st.integers(0, 12), st.sampled_from([0, 1, 50]), st.integers(0, 10**9))
@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_size_of_an_artifact_is_known_before_it_is_written(
    tmp_path: Path, rows: int, padding: int, value: int
) -> None:
    """From shapes alone, for any content; spaces at the end of a manifest do not change what is read."""
    shapes = {"a": ((rows, 3), torch.float32), "b/codes": ((rows,), torch.uint8), "é": ((2, rows), torch.float16)}
    meta = {"text": "é\n", "value": value, "list": [1.5, None, True]}
    save_artifact(
        tmp_path / "one",
        "any",
        {name: torch.full(shape, value % 100).to(dtype) for name, (shape, dtype) in shapes.items()},
        meta,
        {"other.json": {"long": "x" * 500}},
        padding,
    )
    empty = {name: torch.empty(shape, dtype=dtype, device="meta") for name, (shape, dtype) in shapes.items()}
    (tensors,) = (tmp_path / "one").glob("*.safetensors")
    manifest = tmp_path / "one" / "manifest.json"
    assert artifact_bytes("any", empty, meta, padding) == tensors.stat().st_size + manifest.stat().st_size
    loaded = load_artifact(tmp_path / "one", "any")
    assert loaded.meta == meta
    assert loaded.bytes == artifact_bytes("any", empty, meta, padding)
    assert manifest.read_bytes().endswith(b"}" + b" " * padding + b"\n")
    assert manifest.read_bytes().count(b"\n") == 1


def test_a_signal_while_a_file_is_read_is_no_damaged_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The safetensors library calls Python code. If a signal raises an exception there, it raises another error."""
    write_tensors(tmp_path / "file", {"x": torch.ones(2)})
    loaded = []

    def load(path: Path, device: str) -> dict[str, torch.Tensor]:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as error:
            raise SafetensorError("could not determine the shape") from error
        loaded.append(path)
        return {}

    monkeypatch.setattr(tensor_file, "load_file", load)
    with pytest.raises(KeyboardInterrupt):
        read_tensors(tmp_path / "file")
    assert loaded
