"""Bad input to `compare` (and to runs of pairs): exit code 2, one line that says what to do, nothing written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from comparison_problems import FLAGS
from omnidistill.io.artifacts import exclusive
from omnidistill.models.heads import save_heads
from small_runs import SMALL, Outcome, cli, contents, features, packed, small_heads

FEW = ("--methods", "apm,hopa", "--sizes", "8", "--seeds", "0", "--students", "2", *FLAGS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packed sets `SET` and `OTHER`, and a finished comparison `C` over the first."""
    folder = tmp_path_factory.mktemp("made")
    packed(folder / "SET")
    packed(folder / "OTHER", features(seed=9))
    assert cli("compare", folder / "SET", *FEW, "-o", folder / "C").code == 0
    return folder


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "C", tmp_path / "C")


def refused(outcome: Outcome, *told: str) -> None:
    assert (outcome.code, outcome.out) == (2, ""), outcome
    assert outcome.err.startswith("omnidistill: ")
    assert outcome.err.endswith("\n")
    assert outcome.err.count("\n") == 1
    for part in told:
        assert part in outcome.err, outcome.err


def sets(*pairs: str) -> tuple[str, ...]:
    return tuple(part for pair in pairs for part in ("--set", pair))


HOPA = ("--methods", "hopa")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), ("no methods to compare", "--methods", "--preset")),
        (("--methods", ","), ("no methods to compare",)),
        (("--methods", "hopa,hoppa"), ("unknown preset 'hoppa'", "did you mean 'hopa'", "omnidistill presets")),
        (("--methods", "quick"), ("unknown preset 'quick'",)),
        (("--methods", "hopa,apm,hopa"), ("hopa", "listed twice")),
        (("--methods", "hopa", "--sizes", "9"), ("hopa, 9 rows", "rank = 10", "size = 9")),
        (("--methods", "paper/hopa-msrvtt-{size}", "--sizes", "50"), ("'paper/hopa-msrvtt-50'", "did you mean")),
        (("--methods", "bind"), ("anchor 'text'", "a, b, c")),
        (("--preset", "paper-tabel-1"), ("unknown comparison 'paper-tabel-1'", "did you mean 'paper-table-1'")),
        (("--preset", "hopa"), ("unknown comparison 'hopa'", "--methods hopa")),
        (
            ("--preset", "quick", "--config", "x.toml"),
            ("--preset and --config both define the settings",),
        ),
        (("--config", "nowhere.toml"), ("nowhere.toml", "no such file")),
        ((*HOPA, "--sizes", "30,65"), ("size 65", "64 training rows")),
        ((*HOPA, "--sizes", "0"), ("sizes.0 = 0",)),
        ((*HOPA, "--sizes", "10,20,10"), ("sizes", "given twice")),
        ((*HOPA, "--sizes", "ten"), ("'ten'", "100,200", "--help")),
        ((*HOPA, "--sizes", ","), ("sizes",)),
        ((*HOPA, "--sizes", "10", "--bytes", "50%"), ("'sizes' and 'bytes'", "give only one")),
        ((*HOPA, "--bytes", "50%,much"), ("budget 'much'", "1.5M")),
        ((*HOPA, "--bytes", ","), ("bytes = []",)),
        ((*HOPA, "--bytes", "50%,50%"), ("bytes", "given twice")),
        ((*HOPA, "--bytes", "1%"), ("budget '1%'", "needs at least 2 rows")),
        ((*HOPA, "--bytes", "50%", *sets("distill.size=30")), ("distill.size=30", "--bytes")),
        ((*HOPA, "--seeds", "-1"), ("seeds.0 = -1",)),
        ((*HOPA, "--seeds", "1,1"), ("seeds", "given twice")),
        ((*HOPA, "--seeds", "9" * 30), ("seeds.0", "less than")),
        ((*HOPA, "--students", "1"), ("num_students = 1",)),
        ((*HOPA, "--layout", "tabel"), ("layout", "'retrieval'")),
        ((*HOPA, *sets("distill.max_steps=5")), ("distill.max_steps=5", "none of the compared methods")),
        ((*HOPA, *sets("distill.itertions=5")), ("distill.itertions=5", "did you mean 'distill.iterations'")),
        ((*HOPA, *sets("distill.optimiser.momentum=0.5")), ("momentum=0.5", "none of the compared methods")),
        ((*HOPA, *sets("distill.size=30")), ("distill.size=30", "--sizes")),
        ((*HOPA, *sets("seed=3")), ("seed=3", "--seeds")),
        ((*HOPA, *sets("distill.iterations=0")), ("distill.iterations = 0",)),
        ((*HOPA, *sets("distill.iterations")), ("key=value",)),
        ((*HOPA, *sets('modalities=["a", "z"]')), ("'z'", "a, b, c")),
        ((*HOPA, *sets('modalities=["a"]')), ("modalities",)),
        ((*HOPA, *sets("heads.widht=8")), ("heads.widht", "'heads.width'")),
        ((*HOPA, "--heads", "nowhere"), ("nowhere",)),
        ((*HOPA, "--experts", "E"), ("--experts", "--help")),
        ((*HOPA, "--method", "apm"), ("--method", "--help")),
    ],
)
def test_compare(arguments: tuple[str, ...], told: tuple[str, ...], made: Path, tmp_path: Path) -> None:
    sized = () if {"--sizes", "--bytes"} & set(arguments) else ("--sizes", "12")
    refused(cli("compare", made / "SET", *arguments, *sized, "-o", tmp_path / "C"), *told)
    assert list(tmp_path.rglob("*")) == []


def test_without_a_place(made: Path) -> None:
    refused(cli("compare", made / "SET", *FEW), "-o", "--help")


def test_no_set(tmp_path: Path) -> None:
    refused(cli("compare", tmp_path / "none", *FEW, "-o", tmp_path / "C"), "none", "omnidistill pack")
    assert list(tmp_path.rglob("*")) == []


# what has a meaning for pairs only, or for all modalities only


def test_an_anchor_that_some_pairs_do_not_have(made: Path, tmp_path: Path) -> None:
    """By pairs, every pair would have to contain it; with two modalities it does."""
    anchored = ("--methods", "three-pair,lors-separate", *sets("distill.student.anchor=a"), "--sizes", "12")
    refused(cli("compare", made / "SET", *anchored, "-o", tmp_path / "C"), "anchor 'a'", "b, c")
    run = ("distill", made / "SET", "--preset", "lors-separate", *sets("distill.student.anchor=a"), "--size", "12")
    refused(cli(*run, "-o", tmp_path / "RUN"), "anchor 'a'", "b, c")
    assert list(tmp_path.rglob("*")) == []


def test_given_experts_are_of_all_modalities(made: Path, tmp_path: Path) -> None:
    assert cli("experts", made / "SET", *SMALL, "-o", tmp_path / "E").code == 0
    before = contents(tmp_path)
    pairs = (*SMALL, *sets("joint=false"), "--experts", tmp_path / "E")
    refused(cli("distill", made / "SET", *pairs, "-o", tmp_path / "RUN"), "joint = false", "omit this argument")
    assert contents(tmp_path) == before


# the folder


def test_a_folder_of_another_comparison_or_of_something_else(made: Path, copied: Path, tmp_path: Path) -> None:
    before = contents(tmp_path)
    refused(cli("compare", made / "SET", *FEW, "-o", copied), "--resume")
    refused(cli("compare", made / "OTHER", *FEW, "--resume", "-o", copied), "different data")
    refused(cli("compare", made / "SET", *FEW, "--resume", *sets("heads.width=9"), "-o", copied), "heads.width = 8")
    refused(cli("compare", made / "SET", *FEW, "-o", tmp_path), "not empty")
    assert contents(tmp_path) == before


def test_heads_that_do_not_fit(made: Path, tmp_path: Path) -> None:
    save_heads(small_heads(features(2)), tmp_path / "H", {})
    before = contents(tmp_path)
    refused(cli("compare", made / "SET", *FEW, "--heads", tmp_path / "H", "-o", tmp_path / "C"), "'c'", "a, b")
    assert contents(tmp_path) == before


def test_a_place_that_cannot_be_written(made: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        refused(cli("compare", made / "SET", *FEW, "-o", place), str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_in_use(made: Path, copied: Path) -> None:
    with exclusive(copied):
        refused(cli("compare", made / "SET", *FEW, "--resume", "-o", copied), "in use", "another folder")


def a_result(folder: Path) -> Path:
    return next(folder.glob("cells/apm-*/ranking/manifest.json"))


def tensors(folder: Path) -> Path:
    return next(folder.glob("baselines/full-*/ranking/tensors-*.safetensors"))


def lock(folder: Path) -> Path:
    return folder / "comparison.lock.json"


def heads(folder: Path) -> Path:
    return folder / "heads" / "manifest.json"


@pytest.mark.parametrize("part", [a_result, tensors, lock, heads])
@pytest.mark.parametrize("damage", [b"", b"[]", b'{"data": 5}'])
def test_a_damaged_part(damage: bytes, part: Callable[[Path], Path], made: Path, copied: Path) -> None:
    place = part(copied)
    place.write_bytes(damage)
    before = contents(copied)
    refused(cli("compare", made / "SET", *FEW, "--resume", "-o", copied), str(copied))
    assert contents(copied) == before


@pytest.mark.parametrize("missing", ["train", "validation", "test"])
def test_a_split_is_missing(missing: str, tmp_path: Path) -> None:
    data = features()
    packed(tmp_path / "SET", data.select([row for row, split in enumerate(data.splits) if split != missing]))
    refused(
        cli("compare", tmp_path / "SET", *FEW, "-o", tmp_path / "C"), f"split '{missing}'", "the splits with rows are"
    )
    assert not (tmp_path / "C").exists()
