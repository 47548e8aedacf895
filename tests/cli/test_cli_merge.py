"""`merge`, and `distill --add`: from two sets of data to one set, without the first data."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import omnidistill as od
from omnidistill.data.planted import planted
from omnidistill.evaluation.validation import validation_score
from small_runs import ROWS, cli, contents, features, packed, widths

SETTINGS = ("heads.width=8", "distill.iterations=1", "evaluate.max_epochs=2", "evaluate.learning_rates=[1.0]")
FEW = ("--size", "6", "--device", "cpu", *(word for setting in SETTINGS for word in ("--set", setting)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two packed sets with different means, a run on the first, and a run that adds the second without the first."""
    folder = tmp_path_factory.mktemp("merge")
    for name, seed in (("FIRST", 0), ("SECOND", 1)):
        packed(folder / name, features(seed=seed))
    assert cli("distill", folder / "FIRST", *FEW, "-o", folder / "RUN").code == 0
    (folder / "FIRST").rename(folder / "GONE")
    added = cli("distill", "--add", folder / "SECOND", "--from", folder / "RUN", *FEW, "-o", folder / "GROWN", "--json")
    assert added.code == 0, added.err
    (folder / "added.json").write_text(added.out)
    return folder


def test_data_are_added_without_the_data_of_the_earlier_set(folder: Path) -> None:
    told = json.loads((folder / "added.json").read_text())
    assert told["sets"][0]["rows"] == 12
    assert told["sets"][0]["notes"][0] == "6 rows of the new data merged with 6 rows of an earlier set"
    run, earlier = od.open_run(folder / "GROWN"), od.open_run(folder / "RUN").distilled()
    grown, data = run.distilled(), run.data()  # centred by the means of the first data
    assert grown.preprocessing.difference(earlier.preprocessing) is None
    assert data.preprocessing.difference(earlier.preprocessing) is None
    assert run.result(data).set.size == 12
    new = data.split("validation")
    assert validation_score(grown.train(), new) > validation_score(earlier.train(), new)
    other = cli("distill", "--add", folder / "SECOND", "--from", folder / "GROWN", *FEW, "-o", folder / "GROWN",
                "--resume")  # fmt: skip
    assert "GROWN: contains a run that adds data to another set" in other.err
    shutil.rmtree(folder / "GROWN" / "distilled")  # as after an interruption
    again = cli(
        "distill", "--add", folder / "SECOND", "--from", folder / "RUN", *FEW, "-o", folder / "GROWN", "--resume"
    )
    assert again.code == 0, again.err
    assert all(torch.equal(x, run.distilled().tensors[name]) for name, x in grown.tensors.items())


def test_data_packed_like_a_set_can_be_merged_with_it(folder: Path, tmp_path: Path) -> None:
    raw = planted(widths(3), ROWS, latent=6, seed=1)
    np.savez(tmp_path / "new.npz", **{name: x.numpy() for name, x in raw.features.items()})
    rows = zip(raw.ids, raw.groups, raw.splits, strict=True)
    (tmp_path / "new.csv").write_text("\n".join(["id,group,split", *map(",".join, rows)]))
    files = ("--features", tmp_path / "new.npz", "--table", tmp_path / "new.csv")
    for name, like in (("OWN", ()), ("NEW", ("--like", folder / "RUN")), ("LIKE-NEW", ("--like", tmp_path / "NEW"))):
        printed = cli("pack", *files, *like, "-o", tmp_path / name)
        assert printed.code == 0, printed.err
        assert ("centred on the mean of another set (--like)" in printed.out) == bool(like)
    first = od.open_run(folder / "RUN").distilled()
    for name in ("NEW", "LIKE-NEW"):
        packed_like = od.load(tmp_path / name)
        assert packed_like.preprocessing.difference(first.preprocessing) is None
        for modality, x in first.preprocessing.apply(raw.features).items():
            assert torch.equal(packed_like.features[modality], x)
    assert cli("distill", tmp_path / "NEW", *FEW, "-o", tmp_path / "RUN-NEW").code == 0
    merged = cli("merge", folder / "RUN", tmp_path / "RUN-NEW", "-o", tmp_path / "MERGED", "--json")
    assert (merged.code, json.loads(merged.out)["rows"]) == (0, 12)
    own = replace(first, preprocessing=od.load(tmp_path / "OWN").preprocessing)
    with pytest.raises(od.InputError, match=r"differ in the means of .*pack --like SET"):
        od.merge(first, own)
    two = cli("pack", *files, "--modalities", "a,b", "--like", folder / "RUN", "-o", tmp_path / "M")
    assert (two.code, two.err.count("\n")) == (2, 1)
    assert two.err.startswith("omnidistill: --like: the features have the widths a 12, b 14, but this set has a 12, b")
    both = cli("pack", *files, "--no-centre", "--like", folder / "RUN", "-o", tmp_path / "M")
    assert (both.code, "--like: the preprocessing is copied from the other set, so" in both.err) == (2, True)
    assert not (tmp_path / "M").exists()


def test_a_grown_set_is_compared_with_as_many_real_rows(folder: Path) -> None:
    run = od.open_run(folder / "GROWN")
    evaluation = od.evaluate(run.result(run.data()), run.data(), baselines=["random"], num_seeds=2, progress=False)
    rows = evaluation.scores.rows
    assert rows["distilled"].label == "anchor, 12 rows"
    assert "12" in rows["random"].label


def test_sets_are_merged_into_a_folder(folder: Path, tmp_path: Path) -> None:
    sets, output = (folder / "RUN", folder / "GROWN"), tmp_path / "MERGED"
    printed = cli("merge", *sets, "--size", "8", "-o", output)
    assert printed.code == 0, printed.err
    assert printed.out.startswith(f"set      {output} (8 rows of 32 bits, ")
    assert f"next     omnidistill export {output} -o rows.parquet" in printed.out
    merged = od.DistilledSet.load(output)
    assert all(torch.equal(x, merged.tensors[name]) for name, x in od.merge(*sets, size=8).tensors.items())
    before = contents(output)
    refused = cli("merge", *sets, "-o", output)
    assert (refused.code, refused.err) == (
        2,
        f"omnidistill: {output}: already exists; choose another folder, or use --force to replace the set in it\n",
    )  # fmt: skip
    assert contents(output) == before
    told = json.loads(cli("merge", output, "--bytes", str(merged.bytes - 100), "--force", "-o", output, "--json").out)
    assert (told["rows"], told["bytes"] < merged.bytes) == (7, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("merge RUN -o M", "pass two or more sets, or one set and a smaller size or budget"),
        ("merge RUN GROWN --size 8 --bytes 9kB -o M", "--size 8 and --bytes 9kB: both set the size"),
        ("merge RUN GROWN --bytes 1% -o M", "--bytes 1%: a percentage refers to the size of the training features"),
        ("merge RUN GROWN --bytes 100 -o M", "--bytes 100: too small; pass at least "),
        ("merge RUN GROWN --size 99 -o M", "--size 99: merging these sets gives at most "),
        ("merge RUN SECOND -o M", "SECOND"),
        ("merge RUN GROWN -o SECOND --force", "SECOND"),
        ("distill -o M", "pass either the dataset SET, or --add NEW --from RUN"),
        ("distill SECOND --add SECOND --from RUN -o M", "pass either the dataset SET, or --add"),
        (
            "distill --add SECOND -o M",
            "--add SECOND: --from is missing; use --from RUN",
        ),
        (
            "distill --add SECOND --from RUN --preset random -o M",
            "gives sets with the recipe 'sgd', but the earlier",
        ),
    ],
)
def test_what_cannot_be_merged_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, message: str
) -> None:
    monkeypatch.chdir(folder)
    outcome = cli(*arguments.split())
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert message in outcome.err
    assert not (folder / "M").exists()
