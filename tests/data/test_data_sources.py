import os
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from omnidistill.core.errors import InputError
from omnidistill.data.sources import read_sources
from omnidistill.io import input_files

RNG = np.random.default_rng(0)
ARRAYS = {"video": RNG.normal(size=(6, 4)), "a.b-c": RNG.normal(size=(6, 3)).astype(np.float32)}


def write(path, arrays):
    """`arrays` in the format that `path` names, a folder of .npy if it has no suffix."""
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".safetensors":
        save_file({name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in arrays.items()}, path)
    elif path.suffix == ".parquet":
        pq.write_table(pa.table({name: [row.tolist() for row in x] for name, x in arrays.items()}), path)
    else:
        path.mkdir()
        for name, x in arrays.items():
            np.save(path / f"{name}.npy", x)
    return path


@pytest.mark.parametrize("name", ["set.npz", "set.safetensors", "set.parquet", "set", "SET.NPZ"])
def test_each_format_gives_the_same_numbers(tmp_path, name):
    written = write(tmp_path / name.lower(), ARRAYS)
    path = written.rename(tmp_path / name)
    found, files = read_sources(path)
    assert found.keys() == ARRAYS.keys()
    for modality, x in ARRAYS.items():
        np.testing.assert_array_equal(found[modality].numpy(), x)
    assert all(file.is_file() for file in files)
    assert len(files) == (2 if name == "set" else 1)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4", ">f8"])
def test_numpy_floats_of_either_byte_order_and_layout(tmp_path, dtype):
    x = np.asfortranarray(ARRAYS["video"].astype(dtype))
    for path in (write(tmp_path / "s.npz", {"a": x, "b": x}), write(tmp_path / "s", {"a": x, "b": x})):
        found, _ = read_sources(path)
        np.testing.assert_array_equal(found["a"].numpy(), x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_safetensors_floats_as_one_file_or_a_folder_of_files(tmp_path, dtype):
    x = torch.from_numpy(ARRAYS["video"]).to(dtype)
    save_file({"a": x, "b": x * 2}, tmp_path / "one.safetensors")
    (tmp_path / "folder").mkdir()
    save_file({"whatever": x}, tmp_path / "folder" / "a.safetensors")
    np.save(tmp_path / "folder" / "c.npy", x.double().numpy())
    np.savez(tmp_path / "folder" / "b.npz", only=x.double().numpy())
    (tmp_path / "folder" / "table.csv").write_text("not read")
    assert torch.equal(read_sources(tmp_path / "one.safetensors")[0]["a"], x)
    folder, files = read_sources(tmp_path / "folder")
    assert torch.equal(folder["a"], x)
    assert torch.equal(folder["b"], x.double())
    assert torch.equal(folder["c"], x.double())
    assert [file.name for file in files] == ["a.safetensors", "b.npz", "c.npy"]


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()])
@pytest.mark.parametrize("width", [-1, 3])
@pytest.mark.parametrize("large", [False, True])
def test_parquet_lists_of_every_sort_over_many_row_groups(tmp_path, kind, width, large):
    x = RNG.normal(size=(7, 3)).astype(kind.to_pandas_dtype())
    sort = pa.large_list(kind) if large and width < 0 else pa.list_(kind, width)
    columns = {
        "id": [str(row) for row in range(7)],
        "a": pa.array(list(x), type=sort),
        "words": [["x", "y"]] * 7,
        "b": pa.array(list(x), type=sort),
    }
    pq.write_table(pa.table(columns), tmp_path / "s.parquet", row_group_size=2)
    found, _ = read_sources(tmp_path / "s.parquet")
    assert list(found) == ["a", "b"]
    np.testing.assert_array_equal(found["a"].numpy(), x)


def test_parquet_columns_are_not_taken_from_the_names_of_folders(tmp_path):
    folder = tmp_path / "c=1"
    folder.mkdir()
    assert read_sources(write(folder / "s.parquet", ARRAYS))[0].keys() == ARRAYS.keys()


def test_writing_to_what_was_read_leaves_the_files_as_they_are(tmp_path):
    path = write(tmp_path / "s", ARRAYS)
    read_sources(path)[0]["video"].zero_()
    np.testing.assert_array_equal(read_sources(path)[0]["video"].numpy(), ARRAYS["video"])


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    path = write(tmp_path / "s.parquet", ARRAYS)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"pip install 'omnidistill\[parquet\]'"):
        read_sources(path)


def parquet(tmp_path, **columns):
    pq.write_table(pa.table(columns), tmp_path / "s.parquet")
    return tmp_path / "s.parquet"


def test_parquet_lists_that_are_no_modality(tmp_path):
    for columns, names in [
        ({"a": [[1.0], [2.0, 3.0]]}, "rows with 1 to 2 numbers"),
        ({"a": [[1.0], None]}, "'a' has missing values"),
        ({"a": [[1.0], [None]]}, "'a' has missing values"),
        ({"a": pa.array([[], []], type=pa.list_(pa.float32()))}, "'a' has no columns"),
        ({"a": pa.array([], type=pa.list_(pa.float32()))}, "'a' has no"),
        ({"a": ["x"], "b": [1.5]}, "no column contains lists of numbers"),
    ]:
        with pytest.raises(InputError, match=names):
            read_sources(parquet(tmp_path, **columns))


@pytest.mark.parametrize(
    ("array", "names"),
    [
        (np.ones((3, 2), dtype=bool), "bool"),
        (np.array(["x", "y"]), "<U1.*splits, move it to the metadata table"),
        (np.ones((3, 2), dtype=np.longdouble), "float128|longdouble"),
        (np.ones((3, 2), dtype=complex), "complex"),
        (np.ones((3, 2), dtype="V2"), "NumPy does not support"),
        (np.ones(3), r"shape \(3,\)"),
        (np.ones((3, 2, 2)), r"shape \(3, 2, 2\)"),
        (np.float32(1), r"shape \(\)"),
        (np.ones((0, 2)), "no rows"),
        (np.ones((2, 0)), "no columns"),
    ],
)
@pytest.mark.parametrize("name", ["s.npz", "s"])
def test_arrays_that_are_no_modality(tmp_path, array, names, name):
    with pytest.raises(InputError, match=f"'bad'.*({names})"):
        read_sources(write(tmp_path / name, {"bad": array, "good": ARRAYS["video"]}))


def test_tensors_that_are_no_modality(tmp_path):
    save_file({"ids": torch.arange(4), "a": torch.ones(4, 2)}, tmp_path / "s.safetensors")
    with pytest.raises(InputError, match=r"'ids' has shape \(4,\).*splits, move it to the metadata table"):
        read_sources(tmp_path / "s.safetensors")


def test_names_that_are_no_modality(tmp_path):
    save_file({"../a": torch.ones(4, 2), "b": torch.ones(4, 2)}, tmp_path / "s.safetensors")
    with pytest.raises(InputError, match=r"s\.safetensors: modality '\.\./a': this name is not allowed"):
        read_sources(tmp_path / "s.safetensors")


def test_folders_that_are_no_set(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(InputError, match=r"no \.npy, \.npz or \.safetensors"):
        read_sources(folder)
    save_file({"x": torch.ones(2, 2), "y": torch.ones(2, 2)}, folder / "a.safetensors")
    with pytest.raises(InputError, match="2 tensors"):
        read_sources(folder)
    save_file({"x": torch.ones(2, 2)}, folder / "a.safetensors")
    np.save(folder / "a.npy", np.ones((2, 2)))
    np.save(folder / "a.npy.npy", np.ones((2, 2)))  # sorts between the two by name, not by stem
    with pytest.raises(InputError, match="both belong to modality 'a'"):
        read_sources(folder)


@pytest.mark.parametrize("name", ["missing.npz", "missing.safetensors", "missing.parquet", "missing", "s.txt"])
def test_files_that_are_not_there_or_of_no_known_format(tmp_path, name):
    with pytest.raises(InputError, match=name):
        read_sources(tmp_path / name)


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_npy_file_is_mapped_and_never_written_to(tmp_path, order):
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", np.asarray(x, order=order))
    read = read_sources(tmp_path)[0]["a"]
    assert torch.equal(read, torch.from_numpy(x))
    read += 1
    assert torch.equal(read_sources(tmp_path)[0]["a"], torch.from_numpy(x))


def test_an_npy_file_larger_than_memory_is_mapped(tmp_path):
    rows = 2 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 256
    for name in ("a", "b"):
        with (tmp_path / f"{name}.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (rows, 64)})
            file.truncate(file.tell() + 256 * rows)
    read = read_sources(tmp_path)[0]["b"]
    assert (read.shape, float(read[-1].sum())) == ((rows, 64), 0)


@pytest.mark.parametrize("name", ["s.npz", "s.safetensors", "s.parquet", "folder/a.npy", "folder/a.safetensors"])
def test_devices_and_pipes_are_not_opened(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    given = path if path.parent == tmp_path else path.parent
    path.symlink_to("/dev/null")
    with pytest.raises(InputError, match="is not a regular file"):
        read_sources(given)
    path.unlink()
    os.mkfifo(path)  # opening it would wait for a writer
    with pytest.raises(InputError, match="is not a regular file"):
        read_sources(given)


@pytest.mark.parametrize("name", ["s.npz", "s.parquet"])
def test_a_small_file_of_many_zeros_is_not_unpacked(tmp_path, monkeypatch, name):
    zeros, path = np.zeros((1000, 300), np.float32), tmp_path / name
    if name == "s.npz":
        np.savez_compressed(path, a=zeros, b=zeros)
    else:
        lists = pa.FixedSizeListArray.from_arrays(pa.array(zeros.ravel()), 300)
        pq.write_table(pa.table({"a": lists, "b": lists}), path, compression="zstd")
    assert set(read_sources(path)[0]) == {"a", "b"}
    monkeypatch.setattr(input_files, "FREE_BYTES", 2**20)
    with pytest.raises(InputError, match=f"{name}: would take [0-9,]+ bytes in memory, more than 100 times its size"):
        read_sources(path)
