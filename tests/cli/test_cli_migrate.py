"""`migrate` and `apply`: the complete way from two files to mapped vectors, and one line for input they cannot use."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from migration_problems import planted, saved
from omnidistill.experiments.migration import Kit
from small_runs import cli

FEW = ("--iterations", "2", "--device", "cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of embeddings, and a kit."""
    folder = tmp_path_factory.mktemp("migration")
    old, new = planted()
    saved(folder, old=old, new=new, short=new[:-1], nan=np.full((4, 32), np.nan, np.float32), text=np.array(["a"]))
    outcome = cli(
        "migrate", folder / "old.npy", folder / "new.npy", "--size", "12", "--baselines", "quick", *FEW,
        "-o", folder / "KIT",
    )  # fmt: skip
    assert outcome.code == 0, outcome
    (folder / "report.txt").write_text(outcome.out, "utf-8")
    return folder


def test_from_two_files_to_mapped_vectors(folder: Path, tmp_path: Path) -> None:
    printed = (folder / "report.txt").read_text("utf-8")
    for part in (
        "**Old to new: recall@1/5/10 on test pairs, in %**",
        "| kit | 12 |",
        "| ridge, all pairs | –",
        f"kit      {folder / 'KIT'} (",
        f"next     omnidistill apply {folder / 'KIT'} {folder / 'old.npy'} -o mapped.npy",
    ):
        assert part in printed
    outcome = cli("apply", folder / "KIT", folder / "old.npy", "-o", tmp_path / "mapped.npy")
    assert outcome.code == 0
    assert outcome.out.startswith(f"output  {tmp_path / 'mapped.npy'} (500 vectors of width 28, ")
    kit = Kit.load(folder / "KIT")
    np.testing.assert_array_equal(np.load(tmp_path / "mapped.npy"), kit.apply(planted()[0]))
    outcome = cli("apply", folder / "KIT", folder / "new.npy", "--reverse", "--json", "-o", tmp_path / "back.npy")
    assert {name: json.loads(outcome.out)[name] for name in ("rows", "width")} == {"rows": 500, "width": 32}
    np.testing.assert_array_equal(np.load(tmp_path / "back.npy"), kit.apply(planted()[1], reverse=True))


def test_json_is_the_report(folder: Path, tmp_path: Path) -> None:
    sides = (folder / "old.npy", folder / "new.npy")
    outcome = cli("migrate", *sides, "--bytes", "4%", "--bits", "4", "--baselines", "none", *FEW,
                  "--json", "-o", tmp_path / "K")  # fmt: skip
    tree = json.loads(outcome.out)
    report = json.loads((tmp_path / "K-report.json").read_text("utf-8"))
    assert {name: tree[name] for name in report} == report
    assert report["storage"] == "4 bits"
    assert tree["bytes"] <= 0.04 * report["training_bytes"]
    again = cli("migrate", *sides, "--size", "4", "--baselines", "none", *FEW, "--force", "-o", tmp_path / "K")
    assert again.code == 0
    assert Kit.load(tmp_path / "K").size == 4


def test_inspect_describes_a_kit(folder: Path) -> None:
    outcome = cli("inspect", folder / "KIT")
    assert outcome.code == 0
    for part in ("migration kit", "rows", "12", "shipped bytes"):
        assert part in outcome.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("migrate old.npy short.npy -o K", "old.npy: has 500 rows, but short.npy has 499"),
        ("migrate old.npy text.npy -o K", "text.npy: dtype is <U1"),
        ("migrate old.npy missing.npy -o K", "missing.npy: cannot be read (No such file or directory)"),
        ("migrate old.npy report.txt -o K", "report.txt: not a complete .npy file"),
        ("migrate old.npy new.npy --size 4 --bytes 1% -o K", "--size and --bytes: both set the size"),
        ("migrate old.npy new.npy --size 99 -o K", "--size 99: a migration kit must have at least 2 rows, and at"),
        ("migrate old.npy new.npy -o K", "--bytes 1%: 960 bytes are too few for a migration kit"),
        ("migrate old.npy new.npy -o KIT", "KIT: is not empty; choose another folder, or use --force"),
        ("migrate old.npy new.npy --bits 5 -o K", "--bits: unknown value '5'"),
        ("apply KIT new.npy -o out.npy", "new.npy: the embeddings have width 28, but the old encoder"),
        ("apply KIT nan.npy -o out.npy", "nan.npy: row 0 (counted from 0) contains NaN or Inf"),
        ("apply KIT old.npy -o new.npy", "new.npy: already exists; use --force to replace it"),
        ("apply old.npy old.npy -o out.npy", "old.npy: is a file, but an omnidistill artifact is a folder"),
        ("apply missing old.npy -o out.npy", "missing: not an omnidistill artifact (no manifest.json)"),
    ],
)  # fmt: skip
def test_input_that_cannot_be_used(words: str, message: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    before = sorted(path.name for path in folder.iterdir())
    outcome = cli(*words.split())
    assert outcome.code == 2
    assert outcome.err.startswith(f"omnidistill: {message}")
    assert outcome.err.count("\n") == 1
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_damaged_kit(folder: Path, tmp_path: Path) -> None:
    Kit.load(folder / "KIT").save(tmp_path / "KIT")
    (file,) = (tmp_path / "KIT").glob("*.safetensors")
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(bytes(content))
    outcome = cli("apply", tmp_path / "KIT", folder / "old.npy", "-o", tmp_path / "out.npy")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "the file was altered or damaged" in outcome.err
    assert not (tmp_path / "out.npy").exists()
