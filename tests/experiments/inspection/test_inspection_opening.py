"""Every artifact that is written can be looked into; anything else is an error of one line."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from omnidistill.core.errors import InputError
from omnidistill.encoding.manifests.manifest import Manifest, Row
from omnidistill.encoding.manifests.write_manifest import write_manifest
from omnidistill.experiments.inspection import inspect
from small_runs import ROWS, SMALL, cli, packed, shipped, widths


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    data = packed(folder / "SET")
    assert cli("experts", data, *SMALL, "-o", folder / "EXPERTS").code == 0
    assert cli("distill", data, *SMALL, "--size", 9, "-o", folder / "RUN").code == 0
    for name in ("rows.npz", "rows.parquet", "rows"):
        assert cli("export", folder / "RUN", "-o", folder / name).code == 0
    (folder / "few.toml").write_text(
        'methods = ["k-medoids"]\nsizes = [8]\nseeds = [0]\nbaselines = []\n'
        'settings = ["heads.width=8", "heads.num_epochs=1", "distill.max_steps=16"]\n'
    )
    few = ("--config", folder / "few.toml", "--students", 2)
    assert cli("compare", data, *few, "-o", folder / "CMP").code == 0
    rows = (Row("a", "a", "train", {"image": "a.png", "text": "one"}), Row("b", "b", "test", {"text": "two"}))
    for suffix in ("csv", "jsonl", "parquet"):
        write_manifest(Manifest(rows, {"image": "image", "text": "text"}, folder), folder / f"items.{suffix}")
    return folder


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("SET", "features"),
        ("SET/manifest.json", "features"),
        ("EXPERTS", "experts and heads"),
        ("EXPERTS/heads", "heads"),
        ("EXPERTS/buffer", "experts"),
        ("RUN", "run"),
        ("RUN/distilled", "distilled"),
        ("CMP", "comparison"),
        ("rows.npz", "export"),
        ("rows.parquet", "export"),
        ("rows", "export"),
        ("items.csv", "manifest"),
        ("items.jsonl", "manifest"),
        ("items.parquet", "manifest"),
        (".", "folder"),
    ],
)
def test_every_artifact_is_known(made: Path, name: str, kind: str) -> None:
    assert inspect(made / name).kind == kind
    outcome = cli("inspect", made / name, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    found = json.loads(outcome.out)
    assert (found["kind"], found["bytes"] > 0) == (kind, True)
    assert cli("inspect", made / name).out.startswith(kind)


def test_it_tells_what_is_in_them(made: Path) -> None:
    assert inspect(made / "SET").facts["splits"] == ROWS
    assert inspect(made / "SET").facts["widths"] == widths(3)
    run = inspect(made / "RUN")
    assert (run.facts["finished"], run.facts["evaluated"]) == (True, False)
    assert set(run.parts) == {"heads", "experts", "distilled"}
    assert run.parts["distilled"].tensors["rows/a"].shape == (9, 12)
    for name in ("rows.npz", "rows.parquet", "rows"):
        assert (inspect(made / name).facts["rows"], inspect(made / name).facts["method"]) == (9, "smoke")
    for name in ("rows.npz", "rows.parquet"):
        tensors = inspect(made / name).tensors
        assert (tensors["a"].dtype, tensors["a"].shape, tensors["similarity"].shape) == ("F32", (9, 12), (9, 9))
    assert inspect(made / "items.csv").facts["items"] == {"image": 1, "text": 2}
    comparison = inspect(made / "CMP").facts
    assert (comparison["cells"], comparison["baselines"]) == ({"finished": 1, "unfinished": 0}, 2)  # zero-shot and full
    assert inspect(made / "RUN/distilled").facts["method"] == "smoke"
    assert inspect(made / "RUN/distilled").facts["shipped bytes"] == shipped(made / "RUN/distilled")


def test_an_unfinished_run_shows_its_checkpoint(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = (*SMALL, "--set", "distill.optimiser.rows=1e30")
    assert cli("distill", made / "SET", *settings, "-o", tmp_path / "RUN").code == 3
    found = inspect(tmp_path / "RUN")
    assert found.facts["finished"] is False
    if "checkpoint" in found.parts:
        assert found.parts["checkpoint"].kind == "checkpoint"


def test_verify_reads_everything_once(made: Path, tmp_path: Path) -> None:
    assert inspect(made / "RUN", verify=True).verified is True
    assert cli("distill", made / "SET", *SMALL, "-o", tmp_path / "RUN").code == 0
    (file,) = (tmp_path / "RUN" / "distilled").glob("*.safetensors")
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    inspect(tmp_path / "RUN")
    with pytest.raises(InputError, match="distilled"):
        inspect(tmp_path / "RUN", verify=True)


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("was unpickled",))


def test_anything_else_is_told_in_one_line(made: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "note.txt").write_text("hello")
    (tmp_path / "other.csv").write_text("x,y\n1,2\n")
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 and no more")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "bad.safetensors").write_bytes(b"{}")
    (tmp_path / "trap.pt").write_bytes(pickle.dumps(Trap()))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "manifest.json").write_text('{"kind": 3}')
    np.savez(tmp_path / "objects.npz", metadata=np.array(Trap(), dtype=object), allow_pickle=True)
    for name, told in {
        "none": "no such file",
        "empty": "contains nothing written by omnidistill",
        "note.txt": "pass a folder, or a file with one of the suffixes .safetensors",
        "other.csv": "not a valid table for 'omnidistill pack' (",
        "bad.npz": "cannot be read as .npz",
        "bad.parquet": "cannot be read as Parquet",
        "bad.safetensors": "bad.safetensors",
        "trap.pt": "not written by omnidistill",
        "deep": "pass a folder that omnidistill wrote",
    }.items():
        outcome = cli("inspect", tmp_path / name)
        assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1), outcome
        assert told in outcome.err
    part = cli("inspect", made / "RUN" / "metrics.jsonl")
    assert (part.code, f"is part of {made / 'RUN'}" in part.err) == (2, True)
    cli("inspect", tmp_path / "objects.npz")  # names only


def test_arrays_of_others_are_told_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.zeros((2, 3), "float32"), b=np.zeros(4, bool))
    found = inspect(tmp_path / "x.npz")
    assert (found.kind, found.facts) == ("arrays", {"arrays": ["a", "b"]})
    assert (found.tensors["a"].dtype, found.tensors["a"].bytes, found.tensors["b"].dtype) == ("F32", 24, "BOOL")


def test_a_table_of_pack_is_described_with_the_command_that_reads_it(tmp_path: Path) -> None:
    rows = [f"{split}{row},{split},{row % 2},{row}.5" for split in ("train", "val", "test") for row in range(4)]
    (tmp_path / "rows.csv").write_text("\n".join(["id,split,label,length", *rows]) + "\n")
    facts = inspect(tmp_path / "rows.csv").facts
    assert (facts["rows"], facts["splits"]) == (12, {"train": 4, "validation": 4, "test": 4})
    assert facts["columns"]["split"] == "text (3 different)"
    assert facts["columns"]["length"] == "number (4 different)"
    assert facts["notes"] == ["split 'val' is read as 'validation'"]
    assert facts["next"].startswith(f"omnidistill pack --features FEATURES --table {tmp_path / 'rows.csv'} -o SET (")
    columns = {"image": [[1.0, row] for row in range(9)], "text": [[row, 2.0, 1.0] for row in range(9)]}
    parquet.write_table(pyarrow.table({**columns, "split": ["train", "val", "test"] * 3}), tmp_path / "rows.parquet")
    facts = inspect(tmp_path / "rows.parquet").facts
    assert (facts["rows"], facts["widths"]) == (9, {"image": 2, "text": 3})
    assert facts["next"] == f"omnidistill pack {tmp_path / 'rows.parquet'} -o SET"


def test_the_bundled_set_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = inspect(Path("emoji"))
    assert (str(found.path), found.kind, found.facts["rows"]) == ("emoji", "features", 4686)
    assert not list(tmp_path.iterdir())
