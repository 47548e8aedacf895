"""The preset recommended: it infers open settings, says why, and makes sets that other heads train on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from omnidistill.distillation import DistilledSet
from omnidistill.models.heads import load_heads
from omnidistill.models.storages import RowStorage
from omnidistill.training.experts import load_experts
from small_runs import Outcome, cli, features, packed

QUICK = [
    each
    for setting in (
        "heads.width=8",
        "heads.num_epochs=3",
        "experts.batch_size=16",
        "distill.iterations=4",
        "distill.num_student_steps=6",
        "distill.batch_size=12",
        "distill.validate_every=2",
        "evaluate.learning_rates=[0.3, 1.0]",
        "evaluate.max_epochs=3",
        "evaluate.num_seeds=2",
        "evaluate.batch_size=16",
    )
    for each in ("--set", setting)
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    folder = tmp_path_factory.mktemp("recommended")
    packed(folder / "SET")
    starts = ["--set", "experts.num_starts=3", "--set", "experts.random_starts=1", "--set", "experts.num_experts=4"]
    return folder, cli(
        "distill", folder / "SET", "--preset", "recommended", *QUICK, *starts, "--size", "10", "-o", folder / "RUN"
    )


def test_it_says_what_it_chose_and_why(made: tuple[Path, Outcome]) -> None:
    folder, outcome = made
    assert outcome.code == 0, outcome.err
    found = DistilledSet.load(folder / "RUN" / "distilled")
    assert found.provenance.method == "recommended"
    choices = found.provenance.choices
    assert len(choices) == 5
    for name, why in choices.items():
        assert f"chosen   {name} = {why}\n" in outcome.out
    assert (found.size, len(found)) == (10, 160)
    assert not [name for name in found.tensors if name.startswith("similarity")]


def test_compact_takes_four_bits(made: tuple[Path, Outcome]) -> None:
    folder, _ = made
    outcome = cli("distill", folder / "SET", "--preset", "compact", *QUICK, "--bytes", "30%", "-o", folder / "SMALL")
    assert outcome.code == 0, outcome.err
    found = DistilledSet.load(folder / "SMALL" / "distilled")
    assert isinstance(found.spec.storage, RowStorage)
    assert (found.provenance.method, found.spec.storage.bits) == ("compact", 4)
    assert f"({found.size} rows of 4 bits, {found.bytes:,} bytes, " in outcome.out


def test_experts_start_from_heads_of_their_own(made: tuple[Path, Outcome]) -> None:
    """Every second one from those of the run; of the others, one start was trained on the heads split, one is random.
    The user is told how long each is trained.
    """
    folder, outcome = made
    buffer, fitting = load_experts(folder / "RUN" / "experts"), features().widths
    run, _ = load_heads(folder / "RUN" / "heads", fitting)
    others = [load_heads(folder / "RUN" / "experts" / f"start-{number}", fitting) for number in (1, 2)]
    assert [meta["origin"] for _, meta in others] == ["pre-trained on the heads split", "random"]
    for expert, heads in enumerate([run, others[0][0], run, others[1][0]]):
        assert all(torch.equal(buffer.heads(expert, 0)[name], heads[name]) for name in run)
    own, *rest = (start.num_epochs for start in buffer.key.starts)
    assert (
        f"{own}, the best on validation when heads are trained on all rows (for the other initial heads: "
        in outcome.out
    )
    assert buffer.last_epochs == (own, rest[0], own, rest[1])


def test_other_heads_train_on_the_set(made: tuple[Path, Outcome]) -> None:
    """Wider ones, of another seed: their own zero-shot and full lines, beside the run's own scores."""
    folder, _ = made
    wide = ("--seed", "7", "--set", "heads.width=12", "--set", "heads.num_epochs=3")
    assert cli("heads", folder / "SET", *wide, "-o", folder / "WIDE").code == 0
    outcome = cli("evaluate", folder / "RUN", "--heads", folder / "WIDE")
    assert outcome.code == 0, outcome.err
    place = folder / "RUN" / "from-WIDE"
    assert str(place / "scores.json") in outcome.out
    assert not (folder / "RUN" / "scores.json").exists()
    other = scores(place)
    assert cli("evaluate", folder / "RUN").code == 0
    seen = scores(folder / "RUN")
    assert [key for key in other["lines"] if key != "low_rank"] == seen["lines"]
    assert "low_rank" in other["lines"]  # ten rows restrict heads that are 12 wide, and none that are 8 wide
    assert other["zero_shot"]["recall"] != seen["zero_shot"]["recall"]
    assert other["bytes"]["distilled"] == seen["bytes"]["distilled"]


def test_heads_that_do_not_fit_are_refused(made: tuple[Path, Outcome]) -> None:
    folder, _ = made
    packed(folder / "OTHER", features(2))
    assert cli("heads", folder / "OTHER", *QUICK[:2], "-o", folder / "TWO").code == 0
    outcome = cli("evaluate", folder / "RUN", "--heads", folder / "TWO")
    assert outcome.code == 2
    assert "TWO" in outcome.err
    assert not (folder / "RUN" / "from-TWO").exists()


def scores(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "scores.json").read_text())
    return found


def test_one_outer_objective_goes_on_from_the_other(made: tuple[Path, Outcome]) -> None:
    """By the folder of a run, with its number of rows; the run's record says from what."""
    folder, _ = made
    task = ("--preset", "task", *QUICK[:4], *QUICK[6:14], "--set", "distill.outer.rows=32", "--set", "heads.width=8")
    outcome = cli("distill", folder / "SET", *task, "--from", folder / "RUN", "-o", folder / "ON")
    assert outcome.code == 0, outcome.err
    found = DistilledSet.load(folder / "ON" / "distilled")
    assert (found.size, found.provenance.initial_set["method"]) == (10, "recommended")
    assert found.provenance.initial_ids == DistilledSet.load(folder / "RUN" / "distilled").provenance.initial_ids


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--size", "7"), "has 10 rows, but the settings require 7; use --size 10"),
        (
            ("--preset", "random"),
            "has no outer iterations, so it cannot continue from an existing synthetic set",
        ),
        (("--set", "joint=false"), "with 'joint = false', a run cannot continue from an existing synthetic set"),
        (("--bytes", "20%"), "use --size 10"),
    ],
)
def test_what_cannot_go_on_is_refused(made: tuple[Path, Outcome], more: tuple[str, ...], told: str) -> None:
    folder, _ = made
    outcome = cli(
        "distill", folder / "SET", "--preset", "recommended", "--from", folder / "RUN", *more, "-o", folder / "REFUSED"
    )
    assert outcome.code == 2
    assert told in outcome.err
    assert not (folder / "REFUSED").exists()
