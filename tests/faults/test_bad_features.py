"""Bad data given to `pack`: one line saying what and where, and nothing written."""

import io
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from omnidistill.core.errors import InputError
from omnidistill.data.pack import pack

SPLITS = ["heads"] * 2 + ["train"] * 3 + ["validation"] * 2 + ["test"] * 3
RNG = np.random.default_rng(0)


def arrays():
    return {"video": RNG.normal(size=(10, 5)), "speech": RNG.normal(size=(10, 4)), "touch": RNG.normal(size=(10, 3))}


def columns():
    return {"id": [f"r{row}" for row in range(10)], "group": [f"g{row}" for row in range(10)], "split": list(SPLITS)}


def write_table(path, given):
    rows = zip(*given.values(), strict=True)
    path.write_text("\n".join([",".join(given), *(",".join(row) for row in rows)]) + "\n")
    return path


def refused(tmp_path, features, table, match, **options):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=match) as caught:
        pack(features, table, tmp_path / "deep" / "set", **options)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def drop(table, split):
    table["split"] = ["train" if name == split else name for name in table["split"]]


def put(array, row, column, value):
    array[row, column] = value


CASES = {
    "mismatched row counts": (lambda a, t: a.update(speech=a["speech"][:9]), "'speech': 9 rows, but there are 10 ids"),
    "fewer rows in the table": (lambda a, t: [v.pop() for v in t.values()], "'video': 10 rows, but there are 9 ids"),
    "one modality only": (
        lambda a, t: [a.pop("speech"), a.pop("touch")],
        "found only 'video'; a paired dataset needs at least two modalities",
    ),
    "NaN": (lambda a, t: put(a["speech"], 7, 2, np.nan), r"'speech', row 7 \(id 'r7'\), column 2: the value is nan"),
    "Inf": (lambda a, t: put(a["touch"], 0, 0, np.inf), r"'touch', row 0 \(id 'r0'\), column 0: the value is inf"),
    "a zero vector": (
        lambda a, t: put(a["touch"], 4, slice(None), 0),
        r"'touch', row 4 \(id 'r4'\): all values are equal",
    ),
    "one column": (lambda a, t: a.update(touch=a["touch"][:, :1]), "'touch': the features have width 1, .* a label"),
    "no rows": (lambda a, t: a.update(speech=a["speech"][:0]), "'speech' has no rows"),
    "no rows in the table": (lambda a, t: [v.clear() for v in t.values()], "no rows"),
    "duplicate ids": (lambda a, t: t["id"].__setitem__(8, "r2"), r"t\.csv: id 'r2': line 4 and line 10 both"),
    "no train": (lambda a, t: t.update(split=["heads"] * 5 + SPLITS[5:]), "no 'train' rows"),
    "no validation": (lambda a, t: drop(t, "validation"), "no 'validation' rows"),
    "no test": (lambda a, t: drop(t, "test"), "no 'test' rows"),
    "an unknown split": (lambda a, t: t["split"].__setitem__(9, "tset"), "line 11.*'tset'.*did you mean 'test'"),
    "an empty split": (lambda a, t: t["split"].__setitem__(9, ""), "line 11, column 'split' is missing"),
    "a group across splits": (
        lambda a, t: t["group"].__setitem__(9, "g3"),
        "group 'g3': contains rows of split 'train' and of split 'test' .line 11.",
    ),
    "no split column": (lambda a, t: t.pop("split"), "the column 'split' is missing"),
    "no id column": (lambda a, t: t.update({"idd": t.pop("id")}), "the column 'id' is missing.*did you mean 'idd'"),
    "an object array": (lambda a, t: a.update(touch=np.array([{}] * 10, dtype=object)), "it contains pickled objects"),
    "truth values": (lambda a, t: a.update(touch=np.ones((10, 2), dtype=bool)), "'touch' has dtype bool"),
    "a name with a folder": (lambda a, t: a.update({"../up": a.pop("touch")}), r"'\.\./up': this name is not allowed"),
}


@pytest.mark.parametrize("what", CASES)
def test_bad_data_is_one_line_and_nothing_written(tmp_path, what):
    spoil, match = CASES[what]
    features, table = arrays(), columns()
    spoil(features, table)
    np.savez(tmp_path / "f.npz", **features)
    refused(tmp_path, tmp_path / "f.npz", write_table(tmp_path / "t.csv", table), match)


def test_the_data_that_the_cases_spoil_is_good(tmp_path):
    np.savez(tmp_path / "f.npz", **arrays())
    pack(tmp_path / "f.npz", write_table(tmp_path / "t.csv", columns()), tmp_path / "set")


@pytest.mark.parametrize("option", ["id_column", "group_column", "split_column"])
def test_a_column_that_is_not_there(tmp_path, option):
    np.savez(tmp_path / "f.npz", **arrays())
    table = write_table(tmp_path / "t.csv", columns())
    refused(
        tmp_path,
        tmp_path / "f.npz",
        table,
        "the column 'splitt' is missing.*did you mean 'split'",
        **{option: "splitt"},
    )


def test_no_table(tmp_path):
    np.savez(tmp_path / "f.npz", **arrays())
    refused(tmp_path, tmp_path / "f.npz", None, "the table with the id, .* is missing; .*such as table='rows.csv'$")


def test_a_repair_that_leaves_a_split_empty(tmp_path):
    features = arrays()
    features["touch"][5:7] = features["touch"][8]
    features["speech"][4] = features["speech"][8]
    np.savez(tmp_path / "f.npz", **features)
    table = write_table(tmp_path / "t.csv", columns())
    match = r"drop_leaks: no validation row would remain, because 2 are identical to test rows \(touch 2\); .* list the"
    refused(tmp_path, tmp_path / "f.npz", table, match, drop_leaks=True)
    assert pack(tmp_path / "f.npz", table, drop_leaks=["speech"]).rows["train"] == 2


@pytest.mark.parametrize("option", ["drop_leaks", "merge_duplicates"])
def test_modalities_of_a_repair_that_are_not_in_the_set(tmp_path, option):
    np.savez(tmp_path / "f.npz", **arrays())
    table = write_table(tmp_path / "t.csv", columns())
    for choice, match in (
        (
            ["video", "toch"],
            "the dataset has no modality 'toch'; choose from video, speech.* mean 'touch'",
        ),
        ([], r"found \[\]; pass a list with one or more modalities"),
        ("video", "found 'video'; pass a list with one or more modalities"),
    ):
        refused(tmp_path, tmp_path / "f.npz", table, f"{option}: {match}", **{option: choice})


@pytest.mark.parametrize("option", ["drop_leaks", "merge_duplicates"])
def test_a_repair_hides_no_invalid_row(tmp_path, option):
    features, table = arrays(), columns()
    features["touch"][4] = features["touch"][8]  # a leak: row 4 will be dropped
    features["touch"][5] = features["touch"][6]
    np.savez(tmp_path / "f.npz", **features)
    for column, row, value, match in (
        ("id", 4, "r8", "id 'r8': line 6 and line 10"),
        ("group", 4, "g8", "group 'g8': contains rows of split 'train' and of split 'test'"),
    ):
        bad = {**table, column: [value if number == row else name for number, name in enumerate(table[column])]}
        refused(tmp_path, tmp_path / "f.npz", write_table(tmp_path / "t.csv", bad), match, **{option: True})
    features["touch"][4:9:4] = np.nan
    np.savez(tmp_path / "f.npz", **features)
    match = r"'touch', row 4 \(id 'r4'\), column 0: the value is nan"
    refused(tmp_path, tmp_path / "f.npz", write_table(tmp_path / "t.csv", table), match, **{option: True})


class Bomb:
    """Unpickling this makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def bomb_npy(path, bomb):
    buffer = io.BytesIO()
    np.save(buffer, np.array([bomb], dtype=object), allow_pickle=True)
    path.write_bytes(buffer.getvalue())


def bomb_npz(path, bomb):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("video.npy", pickle.dumps(bomb))


@pytest.mark.parametrize("name", ["f.npz", "f.npy", "f.safetensors", "f.parquet", "f.pt", "f.pkl", "f.bin"])
@pytest.mark.parametrize("content", [lambda path, bomb: path.write_bytes(pickle.dumps(bomb)), bomb_npy, bomb_npz])
@pytest.mark.parametrize("folder", [False, True])
def test_a_pickle_is_never_opened_whatever_it_is_called(tmp_path, name, content, folder):
    place = tmp_path / "folder"
    place.mkdir()
    content(place / name, Bomb(tmp_path / "exploded"))
    np.save(place / "other.npy", arrays()["video"])  # with the file left out, one modality only
    source = place if folder else place / name
    refused(
        tmp_path,
        source,
        write_table(tmp_path / "t.csv", columns()),
        r"f\.|a paired dataset needs at least two modalities",
    )
    assert not (tmp_path / "exploded").exists()


def test_a_pickle_as_features_says_so(tmp_path):
    table = write_table(tmp_path / "t.csv", columns())
    (tmp_path / "f.npz").write_bytes(pickle.dumps([1]))
    refused(tmp_path, tmp_path / "f.npz", table, "not a NumPy file, or it contains pickled objects")
    torch.save(torch.ones(2), tmp_path / "f.pt")
    refused(tmp_path, tmp_path / "f.pt", table, "are pickles")
    torch.save(torch.ones(2), tmp_path / "f.safetensors")
    refused(tmp_path, tmp_path / "f.safetensors", table, "only safetensors files can be read")


def sources(folder):
    np.savez(folder / "f.npz", **arrays())
    np.savez_compressed(folder / "c.npz", **arrays())
    save_file({name: torch.from_numpy(x) for name, x in arrays().items()}, folder / "f.safetensors")
    (folder / "f").mkdir()
    for name, x in arrays().items():
        np.save(folder / "f" / f"{name}.npy", x)
    return [folder / "f.npz", folder / "c.npz", folder / "f.safetensors", folder / "f" / "video.npy"]


@given(st.integers(0, 3), st.floats(0, 1), st.binary(max_size=40), st.booleans())
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_are_refused_or_read_never_anything_else(tmp_path_factory, which, where, noise, cut):
    folder = tmp_path_factory.mktemp("damaged")
    table = write_table(folder / "t.csv", columns())
    path = sources(folder)[which]
    data = path.read_bytes()
    at = int(where * len(data))
    path.write_bytes(data[:at] + noise + (b"" if cut else data[at + len(noise) :]))
    try:
        pack(path.parent if path.suffix == ".npy" else path, table, folder / "set")
    except InputError as error:
        message = str(error)
    else:
        message = ""
    assert "\n" not in message
    assert (folder / "set").exists() != bool(message)


def test_a_header_that_claims_more_than_the_file_holds(tmp_path):
    table = write_table(tmp_path / "t.csv", columns())
    (tmp_path / "f").mkdir()
    for name, shape in (("a", (10, 2)), ("b", (10**12, 10**6))):
        with (tmp_path / "f" / f"{name}.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
            file.write(b"\0" * 80)
    refused(tmp_path, tmp_path / "f", table, r"b\.npy: cannot be read as a NumPy file")
    with zipfile.ZipFile(tmp_path / "f.npz", "w") as archive:
        archive.write(tmp_path / "f" / "b.npy", "b.npy")
    refused(tmp_path, tmp_path / "f.npz", table, r"f\.npz: cannot be read as a NumPy file")


def test_an_archive_that_holds_no_arrays(tmp_path):
    table = write_table(tmp_path / "t.csv", columns())
    with zipfile.ZipFile(tmp_path / "f.npz", "w") as archive:
        archive.writestr("notes.txt", "hello")
    refused(tmp_path, tmp_path / "f.npz", table, "'notes.txt' is not a NumPy array")


def test_a_set_that_is_there_survives_a_bad_pack(tmp_path):
    good, bad = arrays(), arrays()
    bad["video"][3, 3] = np.nan
    np.savez(tmp_path / "good.npz", **good)
    np.savez(tmp_path / "bad.npz", **bad)
    table = write_table(tmp_path / "t.csv", columns())
    pack(tmp_path / "good.npz", table, tmp_path / "set")
    before = {path: path.read_bytes() for path in (tmp_path / "set").iterdir()}
    with pytest.raises(InputError, match="row 3"):
        pack(tmp_path / "bad.npz", table, tmp_path / "set", force=True)
    assert {path: path.read_bytes() for path in (tmp_path / "set").iterdir()} == before


def test_a_place_that_cannot_be_written(tmp_path):
    np.savez(tmp_path / "f.npz", **arrays())
    table = write_table(tmp_path / "t.csv", columns())
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InputError, match="file"):
        pack(tmp_path / "f.npz", table, tmp_path / "file" / "set")
    assert (tmp_path / "file").read_text() == "kept"
