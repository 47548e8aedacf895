"""Bad input on the command line: exit code 2, one line that says what and where, no traceback, nothing written."""

from __future__ import annotations

import csv
import json
import os
import pickle
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from omnidistill.experiments.run import open_run
from omnidistill.io.artifacts import save_artifact, write_tensors
from small_runs import ROWS, SMALL, Outcome, cli, contents, features, packed, small_heads

Arrays = dict[str, np.ndarray[Any, Any]]
Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed set `SET`, and finished runs over it: `RUN`, and `EXPERTS` made by themselves."""
    folder = tmp_path_factory.mktemp("made")
    packed(folder / "SET")
    packed(folder / "OTHER", features(seed=9))
    assert cli("distill", folder / "SET", *SMALL, "-o", folder / "RUN").code == 0
    assert cli("experts", folder / "SET", *SMALL, "-o", folder / "EXPERTS").code == 0
    return folder


def refused(outcome: Outcome, *told: str) -> None:
    assert outcome.code == 2, outcome
    assert outcome.out == ""
    assert outcome.err.startswith("omnidistill: ")
    assert outcome.err.count("\n") == 1
    assert outcome.err.endswith("\n")
    assert "Traceback" not in outcome.err
    for part in told:
        assert part in outcome.err, outcome.err


def litter(folder: Path) -> list[str]:
    """Whatever is below a folder that no command was to write to."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# pack


def raw(num_modalities: int = 2) -> tuple[Arrays, Rows]:
    generator = np.random.default_rng(0)
    splits = ["train"] * 6 + ["validation"] * 3 + ["test"] * 3
    arrays = {name: generator.normal(size=(12, 5)).astype("float32") for name in "abcd"[:num_modalities]}
    return arrays, [{"id": f"i{row}", "group": f"g{row}", "split": split} for row, split in enumerate(splits)]


def fewer_rows(arrays: Arrays, rows: Rows) -> None:
    arrays["b"] = arrays["b"][:-1]


def one_modality(arrays: Arrays, rows: Rows) -> None:
    del arrays["b"]


def not_a_number(arrays: Arrays, rows: Rows) -> None:
    arrays["b"][7, 2] = np.nan


def infinite(arrays: Arrays, rows: Rows) -> None:
    arrays["a"][3, 0] = np.inf


def zero_row(arrays: Arrays, rows: Rows) -> None:
    arrays["a"][4] = 0


def duplicate_id(arrays: Arrays, rows: Rows) -> None:
    rows[5]["id"] = "i2"


def crossing_group(arrays: Arrays, rows: Rows) -> None:
    rows[11]["group"] = "g0"


def unknown_split(arrays: Arrays, rows: Rows) -> None:
    rows[2]["split"] = "holdout"


def no_train(arrays: Arrays, rows: Rows) -> None:
    for row in rows:
        row["split"] = "test"


def no_split_column(arrays: Arrays, rows: Rows) -> None:
    for row in rows:
        del row["split"]


def short_table(arrays: Arrays, rows: Rows) -> None:
    rows.pop()


def no_rows(arrays: Arrays, rows: Rows) -> None:
    rows.clear()
    for name in arrays:
        arrays[name] = arrays[name][:0]


def objects(arrays: Arrays, rows: Rows) -> None:
    arrays["b"] = np.array([{"a": 1}] * 12, dtype=object)


def vector(arrays: Arrays, rows: Rows) -> None:
    arrays["b"] = arrays["b"][:, 0]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (fewer_rows, ("'b'", "11", "12")),
        (one_modality, ("at least two modalities", "'a'")),
        (not_a_number, ("'b'", "row 7", "i7", "nan")),
        (infinite, ("'a'", "row 3", "i3", "inf")),
        (zero_row, ("'a'", "row 4", "i4", "cosine similarity is undefined")),
        (duplicate_id, ("'i2'", "line ", " both have this id", "unique")),
        (crossing_group, ("'g0'", "'train'", "'test'")),
        (unknown_split, ("'holdout'",)),
        (no_train, ("'train'",)),
        (no_split_column, ("split",)),
        (short_table, ("11", "12")),
        (no_rows, ()),
        (objects, ("object",)),
        (vector, ("'b'",)),
    ],
)
@pytest.mark.parametrize("table", ["csv", "jsonl"])
def test_pack(table: str, damage: Callable[[Arrays, Rows], None], told: tuple[str, ...], tmp_path: Path) -> None:
    arrays, rows = raw()
    damage(arrays, rows)
    np.savez(tmp_path / "features.npz", **arrays)
    place = tmp_path / f"table.{table}"
    if table == "csv":
        with place.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else ["id", "group", "split"])
            writer.writeheader()
            writer.writerows(rows)
    else:
        place.write_text("".join(json.dumps(row) + "\n" for row in rows))
    before = litter(tmp_path)
    refused(cli("pack", "--features", tmp_path / "features.npz", "--table", place, "-o", tmp_path / "SET"), *told)
    assert litter(tmp_path) == before
    assert not (tmp_path / "SET").exists()


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("touch unpickled",))


@pytest.mark.parametrize("name", ["features.npz", "features.safetensors", "features.parquet", "features.pkl"])
def test_a_pickle_is_not_opened_under_any_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(pickle.dumps(Payload()))
    (tmp_path / "table.csv").write_text("id,split\na,train\n")
    refused(cli("pack", "--features", name, "--table", "table.csv", "-o", "SET"), name)
    assert not (tmp_path / "unpickled").exists()
    assert not (tmp_path / "SET").exists()


def test_packing_over_something_else_is_refused(made: Path, tmp_path: Path) -> None:
    arrays, rows = raw()
    np.savez(tmp_path / "features.npz", **arrays)
    (tmp_path / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    before = contents(made / "RUN")
    arguments = ("pack", "--features", tmp_path / "features.npz", "--table", tmp_path / "table.jsonl", "-o")
    refused(cli(*arguments, made / "RUN" / "heads"), "is not empty", "--force")
    refused(cli(*arguments, made / "RUN" / "heads", "--force"), "'heads'", "'features'")
    assert contents(made / "RUN") == before


# distill


def heads_file(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> Path:
    heads = small_heads(features())
    change(heads)
    write_tensors(folder / "heads.safetensors", heads)
    return folder / "heads.safetensors"


def wider(heads: dict[str, torch.Tensor]) -> None:
    heads["b"] = torch.ones(8, 99)


def narrower_output(heads: dict[str, torch.Tensor]) -> None:
    heads["c"] = heads["c"][:5].contiguous()


def without(heads: dict[str, torch.Tensor]) -> None:
    del heads["a"]


def with_nan(heads: dict[str, torch.Tensor]) -> None:
    heads["a"][0, 0] = torch.nan


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (wider, ("'b'", "(8, 99)", "(output width, 14)")),
        (narrower_output, ("different output widths", "'c': 5")),
        (without, ("no head for modality 'a'", "b, c")),
        (with_nan, ("'a'", "NaN or Inf")),
    ],
)
@pytest.mark.parametrize("command", ["distill", "experts", "heads"])
def test_heads_that_do_not_fit(
    command: str, change: Callable[[dict[str, torch.Tensor]], Any], told: tuple[str, ...], made: Path, tmp_path: Path
) -> None:
    file = heads_file(tmp_path, change)
    refused(cli(command, made / "SET", *SMALL, "--heads", file, "-o", tmp_path / "OUT"), str(file), *told)
    assert litter(tmp_path) == ["heads.safetensors"]


def overrides(*pairs: str) -> list[str]:
    return [part for pair in pairs for part in ("--set", pair)]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--size", "65"), ("65", "64 training rows")),
        (("--size", "0"), ("distill.size", "0")),
        (("--size", "5"), ()),  # the preset's batches fit, so this is no error: see the sanity check below
        (overrides("distill.similarity.rank=11"), ("rank = 11", "size = 10")),
        (overrides("distill.num_student_steps=0"), ("num_student_steps", "0")),
        (overrides("distill.itertions=5"), ("distill.itertions", "did you mean 'distill.iterations'")),
        (overrides("distill.student.kind=infonce", "distill.student.anchor=z"), ("anchor 'z'", "a, b, c")),
        (overrides("experts.objective.kind=infonce", "experts.objective.anchor=z"), ("anchor 'z'", "a, b, c")),
        (overrides("distill.outer.max_start_epoch=9"), ("experts.num_epochs",)),
        (overrides("seed=2020-01-01"), ("date",)),
        (overrides("seed"), ("key=value",)),
        (("--seed", "-1"), ("seed",)),
        (("--heads", "nowhere"), ("nowhere",)),
        (("--experts", "nowhere"), ("nowhere",)),
        (("--config", "nowhere.toml"), ("nowhere.toml", "no such file")),
    ],
)
def test_distill(arguments: tuple[str, ...], told: tuple[str, ...], made: Path, tmp_path: Path) -> None:
    command = ["distill", made / "SET", *SMALL, *arguments, "-o", tmp_path / "RUN"]
    if "--config" in arguments:
        command = [part for part in command if part not in ("--preset", "smoke")]
    outcome = cli(*command)
    if not told:
        assert outcome.code == 0
        return
    refused(outcome, *told)
    assert litter(tmp_path) == []


def test_after_bad_input_the_right_command_works(made: Path, tmp_path: Path) -> None:
    """Nothing is left that would have to be removed or resumed."""
    refused(cli("distill", made / "SET", *SMALL, "--heads", tmp_path / "none", "-o", tmp_path / "RUN"))
    assert cli("distill", made / "SET", *SMALL, "-o", tmp_path / "RUN").code == 0


def test_an_unknown_key_in_a_file(made: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("[distill]\nsize = 10\niteration = 7\n")
    arguments = ("distill", made / "SET", "--config", file, "-o", tmp_path / "RUN")
    refused(cli(*arguments), str(file), "distill.iteration", "'distill.iterations'")
    file.write_bytes(b"\xff")
    refused(cli(*arguments), str(file))
    assert litter(tmp_path) == ["run.toml"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--bytes", "much"), ("'much'", "not an amount of bytes", "1.5M")),
        (("--bytes", "-3"), ("'-3'", "at least one byte")),
        (("--bytes", "nan%"), ("'nan%'", "must be finite")),
        (("--bytes", "101%"), ("'101%'", "10,752 bytes", "use a smaller budget")),
        (
            ("--bytes", "1%"),
            ("'1%'", "'smoke' needs at least 2 rows", "bytes with means and manifest"),
        ),
        (("--bytes", "20%", "--size", "9"), ("--bytes 20% and --size 9", "use only one")),
        (("--bytes", "20%", *overrides("distill.size = 9")), ("--bytes 20%", "--set distill.size=9", "use only one")),
        (("--bytes", "20%", *overrides("distill={size=9}")), ("--bytes 20%", "--set distill.size=9", "use only one")),
    ],
)
def test_a_budget(arguments: tuple[str, ...], told: tuple[str, ...], made: Path, tmp_path: Path) -> None:
    refused(cli("distill", made / "SET", *SMALL, *arguments, "-o", tmp_path / "RUN"), *told)
    assert litter(tmp_path) == []


def test_a_budget_beside_the_size_of_a_file(made: Path, tmp_path: Path) -> None:
    """That of a preset it extends is a default."""
    file = tmp_path / "run.toml"
    arguments = ("distill", made / "SET", "--config", file, "--bytes", "40%", "-o", tmp_path / "RUN")
    file.write_text('extends = "smoke"\n[distill]\nsize = 10\n')
    refused(cli(*arguments), "--bytes 40%", f"distill.size in {file}", "use only one")
    assert litter(tmp_path) == ["run.toml"]
    file.write_text("distill = 10\n")
    refused(cli(*arguments), str(file), "distill")
    file.write_text('extends = "smoke"\n[heads]\nwidth = 8\n')
    assert cli(*arguments).code == 0


def test_a_setting_that_an_option_sets_too(made: Path, tmp_path: Path) -> None:
    for flag, key in ((("--size", "9"), "distill.size"), (("--seed", "9"), "seed")):
        command = ("distill", made / "SET", *SMALL, *flag, "--set", f"{key}=8", "-o", tmp_path / "RUN")
        refused(cli(*command), f"{' '.join(flag)} and --set {key}=8: both set {key}; use only one")
    assert litter(tmp_path) == []


def test_a_rank_is_compared_with_the_rows_that_fit_the_budget(made: Path, tmp_path: Path) -> None:
    """Those of the preset are 10."""
    command = ("distill", made / "SET", *SMALL, *overrides("distill.similarity.rank=12"), "-o", tmp_path / "RUN")
    refused(cli(*command), "rank = 12 exceeds size = 10")
    assert cli(*command, "--bytes", "60%").code == 0
    made_set = open_run(tmp_path / "RUN").sets()[0]
    assert made_set.size > 12
    assert made_set.spec.similarity.rank == 12  # type: ignore[attr-defined]


@pytest.mark.parametrize("missing", ["train", "validation"])
def test_a_split_is_missing(missing: str, tmp_path: Path) -> None:
    data = features()
    keep = [row for row, split in enumerate(data.splits) if split != missing]
    packed(tmp_path / "SET", data.select(keep))
    for more in ((), ("--bytes", "40%")):
        command = ("distill", tmp_path / "SET", *SMALL, *more, "-o", tmp_path / "RUN")
        refused(cli(*command), f"split '{missing}'", "the splits with rows are")
    assert not (tmp_path / "RUN").exists()


def test_no_test_split_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    data = features()
    packed(tmp_path / "SET", data.select([row for row, split in enumerate(data.splits) if split != "test"]))
    assert cli("distill", tmp_path / "SET", *SMALL, "-o", tmp_path / "RUN").code == 0
    before = contents(tmp_path)
    refused(cli("evaluate", tmp_path / "RUN"), "split 'test'")
    assert contents(tmp_path) == before


def test_no_set(tmp_path: Path) -> None:
    refused(cli("distill", tmp_path / "none", *SMALL, "-o", tmp_path / "RUN"), "none", "omnidistill pack")
    refused(cli("heads", tmp_path, *SMALL, "-o", tmp_path / "RUN"), str(tmp_path), "manifest.json")
    assert litter(tmp_path) == []


@pytest.mark.parametrize(
    "other",
    [("--seed", "1"), ("--size", "9"), ("--set", "distill.iterations=7"), ("--set", "experts.learning_rate=0.5")],
)
@pytest.mark.parametrize("resume", [(), ("--resume",)])
def test_a_folder_of_another_run(resume: tuple[str, ...], other: tuple[str, ...], made: Path) -> None:
    before = contents(made / "RUN")
    refused(cli("distill", made / "SET", *SMALL, *other, *resume, "-o", made / "RUN"), "another run")
    assert contents(made / "RUN") == before


def test_a_folder_of_a_run_over_other_data(made: Path) -> None:
    before = contents(made / "RUN")
    refused(cli("distill", made / "OTHER", *SMALL, "--resume", "-o", made / "RUN"), "another run")
    assert contents(made / "RUN") == before


def test_a_folder_of_this_run_without_resume(made: Path) -> None:
    before = contents(made / "RUN")
    refused(cli("distill", made / "SET", *SMALL, "-o", made / "RUN"), "already contains this run", "--resume")
    assert contents(made / "RUN") == before


def test_resuming_with_other_heads_or_experts(made: Path, tmp_path: Path) -> None:
    """A run goes on from its own heads; others are refused, not ignored."""
    shutil.copytree(made / "RUN", tmp_path / "RUN")
    shutil.rmtree(tmp_path / "RUN" / "distilled")
    heads = heads_file(tmp_path, lambda heads: None)
    arguments = ("distill", made / "SET", *SMALL, "--resume", "-o", tmp_path / "RUN")
    before = contents(tmp_path / "RUN")
    refused(cli(*arguments, "--heads", heads), "differ from the given heads")
    assert cli("experts", made / "SET", *SMALL, "--heads", heads, "-o", tmp_path / "E").code == 0
    refused(cli(*arguments, "--experts", tmp_path / "E"), "different initial heads")
    assert contents(tmp_path / "RUN") == before


def test_experts_of_other_data_or_heads(made: Path, tmp_path: Path) -> None:
    arguments = ("--experts", made / "EXPERTS", "-o", tmp_path / "RUN")
    refused(cli("distill", made / "OTHER", *SMALL, *arguments), "different data")
    heads = heads_file(tmp_path, lambda heads: None)
    refused(cli("distill", made / "SET", *SMALL, "--heads", heads, *arguments), "different initial heads")
    longer = overrides("experts.num_epochs=4", "distill.outer.max_start_epoch=4")
    refused(cli("distill", made / "SET", *SMALL, *longer, *arguments), "3 epochs", "at least 4 epochs")
    assert litter(tmp_path) == ["heads.safetensors"]


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        (("hopa", *overrides("distill.outer.kind=task")), "learn, outer objective task"),
        (("random",), "select"),
        (("covmatch",), "covmatch"),
        (("apm",), "apm"),
        (("lors-separate", *overrides("distill.outer=task")), "learn, outer objective task"),
    ],
)
def test_experts_for_a_method_that_reads_none(method: tuple[str, ...], kind: str, made: Path, tmp_path: Path) -> None:
    arguments = ("--preset", *method, "--size", "10", "--experts", made / "EXPERTS", "-o", tmp_path / "RUN")
    refused(
        cli("distill", made / "SET", *arguments),
        str(made / "EXPERTS"),
        f"kind {kind}",
        "does not use expert trajectories",
        "omit this argument",
    )
    assert litter(tmp_path) == []


@pytest.mark.parametrize("preset", ["forgetting", "covmatch-errors"])
def test_experts_for_a_method_that_chooses_rows_by_them(preset: str, made: Path, tmp_path: Path) -> None:
    settings = overrides("heads.width=8", "distill.max_steps=16", "distill.size=10")
    arguments = ("--preset", preset, *settings, "--experts", made / "EXPERTS", "-o", tmp_path / "RUN")
    assert cli("distill", made / "SET", *arguments).code == 0
    assert not (tmp_path / "RUN" / "experts").exists()


def test_a_folder_of_something_else(made: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    refused(cli("distill", made / "SET", *SMALL, "-o", tmp_path), "not empty")
    assert {name for name in litter(tmp_path) if name != ".lock"} == {"notes.txt"}


@pytest.mark.parametrize("command", ["distill", "experts", "heads", "pack"])
def test_an_output_that_cannot_be_written(command: str, made: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    arrays, rows = raw()
    np.savez(tmp_path / "features.npz", **arrays)
    (tmp_path / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    inputs: Mapping[str, tuple[object, ...]] = {
        "pack": ("--features", tmp_path / "features.npz", "--table", tmp_path / "table.jsonl")
    }
    before = contents(tmp_path)
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        refused(cli(command, *inputs.get(command, (made / "SET", *SMALL)), "-o", place), str(tmp_path / "file"))
    assert contents(tmp_path) == before


# artifacts


def truncate(folder: Path) -> None:
    (tensors,) = folder.glob("tensors-*.safetensors")
    tensors.write_bytes(tensors.read_bytes()[:-3])


def flip(folder: Path) -> None:
    (tensors,) = folder.glob("tensors-*.safetensors")
    data = bytearray(tensors.read_bytes())
    data[-1] ^= 1
    tensors.write_bytes(bytes(data))


def newer(folder: Path) -> None:
    text = (folder / "manifest.json").read_text()
    content = json.loads(text)
    (folder / "manifest.json").write_text(json.dumps({**content, "version": 2}))


def edited(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["meta"]["modalities"] = ["a"]
    (folder / "manifest.json").write_text(json.dumps(manifest))


def no_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def other_kind(folder: Path) -> None:
    shutil.rmtree(folder)
    save_artifact(folder, "something", {"a": torch.zeros(1)}, {})


DAMAGES = [
    (truncate, "truncated"),
    (flip, "altered"),
    (newer, "newer version of omnidistill"),
    (edited, "altered"),
    (no_manifest, ""),
    (other_kind, "'something'"),
]


@pytest.mark.parametrize(("damage", "told"), DAMAGES)
def test_a_damaged_set(damage: Callable[[Path], None], told: str, made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "SET", tmp_path / "SET")
    damage(tmp_path / "SET")
    refused(cli("distill", tmp_path / "SET", *SMALL, "-o", tmp_path / "RUN"), str(tmp_path / "SET"), told)
    assert not (tmp_path / "RUN").exists()


@pytest.mark.parametrize("part", ["distilled", "heads"])
@pytest.mark.parametrize(("damage", "told"), DAMAGES)
def test_a_damaged_run(part: str, damage: Callable[[Path], None], told: str, made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "RUN", tmp_path / "RUN")
    damage(tmp_path / "RUN" / part)
    before = contents(tmp_path)
    refused(cli("evaluate", tmp_path / "RUN"), str(tmp_path / "RUN"), told)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(("damage", "told"), DAMAGES)
def test_damaged_experts(damage: Callable[[Path], None], told: str, made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "EXPERTS" / "buffer", tmp_path / "BUFFER")
    damage(tmp_path / "BUFFER")
    arguments = ("distill", made / "SET", *SMALL, "--experts", tmp_path / "BUFFER", "-o", tmp_path / "RUN")
    refused(cli(*arguments), str(tmp_path / "BUFFER"), told)
    assert not (tmp_path / "RUN").exists()


def test_a_truncated_epoch(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "EXPERTS" / "buffer", tmp_path / "BUFFER")
    epoch = tmp_path / "BUFFER" / "epoch-02.safetensors"
    epoch.write_bytes(epoch.read_bytes()[:-1])
    arguments = ("distill", made / "SET", *SMALL, "--experts", tmp_path / "BUFFER", "-o", tmp_path / "RUN")
    refused(cli(*arguments), "epoch-02.safetensors", "does not have")
    assert not (tmp_path / "RUN").exists()


@pytest.mark.parametrize("file", ["run.json", "metrics.jsonl", "timings.json", "floor.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"5", b'{"config": 5}', b'{"data": 5}'])
def test_a_file_of_the_run_is_altered(file: str, content: bytes, made: Path, tmp_path: Path) -> None:
    """Whatever is in it: an evaluation that does without, or one line; never a traceback."""
    shutil.copytree(made / "RUN", tmp_path / "RUN")
    (tmp_path / "RUN" / file).write_bytes(content)
    outcome = cli("evaluate", tmp_path / "RUN", "--json")
    if outcome.code != 0:
        refused(outcome, file)
        assert not (tmp_path / "RUN" / "scores.json").exists()


@pytest.mark.parametrize("field", ["config", "data", "fingerprint"])
@pytest.mark.parametrize("value", [5, None, [], "x"])
def test_a_field_of_the_run_is_altered(field: str, value: Any, made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "RUN", tmp_path / "RUN")
    state = json.loads((tmp_path / "RUN" / "run.json").read_text())
    for changed in ({**state, field: value}, {name: kept for name, kept in state.items() if name != field}):
        (tmp_path / "RUN" / "run.json").write_text(json.dumps(changed))
        refused(cli("evaluate", tmp_path / "RUN"))


# evaluate


def test_no_run(made: Path, tmp_path: Path) -> None:
    refused(cli("evaluate", tmp_path / "none"), "none", "not a run folder")
    refused(cli("evaluate", made / "SET"), "not a run folder")
    assert litter(tmp_path) == []


def test_an_unfinished_run(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "RUN", tmp_path / "RUN")
    shutil.rmtree(tmp_path / "RUN" / "distilled")
    refused(cli("evaluate", tmp_path / "RUN"), "not finished", "--resume")
    (tmp_path / "RUN" / "distilled").mkdir()  # killed while it was written
    refused(cli("evaluate", tmp_path / "RUN"), "not finished", "--resume")


def test_other_data_than_the_run_was_made_of(made: Path) -> None:
    before = contents(made / "RUN")
    refused(cli("evaluate", made / "RUN", "--data", made / "OTHER"), "not the data of")
    refused(cli("evaluate", made / "RUN", "--seeds", "1"), "--seeds 1", "at least 2")
    assert contents(made / "RUN") == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("--hlep",),
        ("destill",),
        ("distill",),
        ("distill", "SET"),
        ("distill", "SET", "-o", "RUN", "--size", "many"),
        ("distill", "SET", "-o", "RUN", "--sise", "5"),
        ("distill", "SET", "-o", "RUN", "--res"),  # no abbreviations: they would break with every new flag
        ("evaluate",),
        ("pack", "-o", "SET"),
    ],
)
def test_arguments_that_no_command_takes(arguments: tuple[str, ...]) -> None:
    refused(cli(*arguments), "--help")


def test_sizes_of_the_data_used_here() -> None:
    assert ROWS["train"] == 64
