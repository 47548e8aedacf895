"""Experts from several initial heads: which expert starts where, and equal bits for every way of training them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from omnidistill.core.engines import LocalEngine
from omnidistill.core.errors import InputError
from omnidistill.training.experts import ExpertBuffer, Start, load_experts, train_experts
from omnidistill.training.experts.blocks import BLOCKS, BlockTraining
from omnidistill.training.experts.starts import starts_of_experts
from small_runs import contents, features, small_config, small_heads, without_seconds

CONFIG = small_config("experts.num_experts=6", "experts.num_starts=3", "experts.random_starts=1").experts
TRAIN = features().split("train")
TRAININGS = ((1.0, 2), (3.0, 4), (0.3, 1))
STARTS = [Start(small_heads(TRAIN, seed=number), *training) for number, training in enumerate(TRAININGS)]
TURNS = [0, 1, 0, 2, 0, 1]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("experts") / "BUFFER"
    train_experts(STARTS, TRAIN, CONFIG, made, seed=0)
    return made


@pytest.fixture
def buffer(folder: Path) -> ExpertBuffer:
    return load_experts(folder)


@pytest.mark.parametrize(
    ("num_experts", "num_starts", "turns"),
    [(3, 1, [0, 0, 0]), (2, 2, [0, 1]), (6, 3, TURNS), (8, 5, [0, 1, 0, 2, 0, 3, 0, 4]), (5, 3, [0, 1, 0, 2, 0])],
)
def test_every_second_expert_starts_from_the_own_heads(num_experts: int, num_starts: int, turns: list[int]) -> None:
    assert starts_of_experts(num_experts, num_starts) == turns


def test_each_expert_is_trained_as_its_start_says(buffer: ExpertBuffer, tmp_path: Path) -> None:
    """The trajectory is that of a buffer with this start only, and constant after its last epoch."""
    assert buffer.own == (True, False, True, False, True, False)
    assert buffer.own_experts == (0, 2, 4)
    assert buffer.last_epochs == (2, 4, 2, 1, 2, 4)
    assert buffer.num_epochs == 4
    one = CONFIG.evolve(num_starts=1, random_starts=0)
    alone = [train_experts([start], TRAIN, one, tmp_path / str(number), seed=0) for number, start in enumerate(STARTS)]
    for expert, turn in enumerate(TURNS):
        for epoch in range(5):
            found, wanted = buffer.heads(expert, epoch), alone[turn].heads(expert, min(epoch, STARTS[turn].num_epochs))
            for name in wanted:
                torch.testing.assert_close(found[name], wanted[name], rtol=1e-6, atol=1e-6)
                still = epoch > buffer.last_epochs[expert]
                assert not still or torch.equal(found[name], buffer.heads(expert, epoch - 1)[name])


@pytest.mark.parametrize(("span", "stored", "pairs"), [(None, 2, 1), (1, 1, 2), (9, 2, 1)])
def test_spectra_end_with_the_training_of_the_own_heads(
    span: int | None, stored: int, pairs: int, tmp_path: Path
) -> None:
    """After the last epoch of the first expert there are no updates to compute spectra of."""
    made = train_experts(STARTS, TRAIN, CONFIG, tmp_path, seed=0, spectrum_epochs=span)
    assert made.spectrum_epochs == stored
    assert all(len(spectra) == pairs and bool((spectra[:, 0] > 0).all()) for spectra in made.spectra.values())


class Elsewhere(LocalEngine):
    """An engine that behaves like one of other processes."""

    here = False


class CutError(Exception):
    """Ends a training."""


@pytest.fixture
def two_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnidistill.training.experts.epochs._CACHED_NUMBERS", 2 * 3 * CONFIG.batch_size * 8)


@pytest.mark.usefixtures("two_a_block")
@pytest.mark.parametrize("cut", [None, 0, 1, 2])
def test_blocks_of_runs_give_the_same_bits(cut: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This holds without interruption, and after an interruption before one of the three blocks."""
    train_experts(STARTS, TRAIN, CONFIG, tmp_path / "here", seed=0)
    if cut is not None:
        train, blocks = BlockTraining.__call__, []

        def cutting(training: BlockTraining, runs: slice) -> None:
            blocks.append(runs)
            if len(blocks) > cut:
                raise CutError
            train(training, runs)

        with monkeypatch.context() as patch:
            patch.setattr(BlockTraining, "__call__", cutting)
            with pytest.raises(CutError):
                train_experts(STARTS, TRAIN, CONFIG, tmp_path / "there", seed=0, engine=Elsewhere())
        assert len(list((tmp_path / "there").glob(f"{BLOCKS}/*"))) == cut
    train_experts(STARTS, TRAIN, CONFIG, tmp_path / "there", seed=0, engine=Elsewhere())
    here, there = (without_seconds(contents(tmp_path / name)) for name in ("here", "there"))
    assert here == there


@pytest.mark.usefixtures("two_a_block")
@pytest.mark.parametrize("engine", [LocalEngine(), Elsewhere()], ids=["here", "in blocks"])
def test_an_interrupted_training_resumes_with_the_same_bits(
    engine: LocalEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training is interrupted after the second epoch, when the heads of some experts are already constant."""
    epochs = BlockTraining.epochs

    def cutting(*arguments: object) -> object:
        for epoch in epochs(*arguments):  # type: ignore[arg-type]
            yield epoch
            if epoch == 2:
                raise CutError

    train_experts(STARTS, TRAIN, CONFIG, tmp_path / "whole", seed=0)
    with monkeypatch.context() as patch:
        patch.setattr(BlockTraining, "epochs", cutting)
        with pytest.raises(CutError):
            train_experts(STARTS, TRAIN, CONFIG, tmp_path / "parts", seed=0)
    assert len(list((tmp_path / "parts").glob("epoch-*"))) == 3
    train_experts(STARTS, TRAIN, CONFIG, tmp_path / "parts", seed=0, engine=engine)
    whole, parts = (without_seconds(contents(tmp_path / name)) for name in ("whole", "parts"))
    assert whole == parts


def test_experts_of_another_training_are_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "BUFFER")
    others = [*STARTS[:2], Start(STARTS[2].heads, 0.2, 1)]
    with pytest.raises(InputError, match=r"another run .different starts"):
        train_experts(others, TRAIN, CONFIG, tmp_path / "BUFFER", seed=0)


def test_starts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"'starts' has 2 entries with initial heads, but the setting experts\.num_starts is 3"
    ):
        train_experts(STARTS[:2], TRAIN, CONFIG, tmp_path / "few", seed=0)
    wide = Start(small_heads(TRAIN, width=9), 1.0, 2)
    with pytest.raises(
        InputError,
        match=r"starts\[2\] has heads of shapes .*\(9, 12\).*heads of the run\) has heads of shapes .*\(8, 12\)",
    ):
        train_experts([*STARTS[:2], wide], TRAIN, CONFIG, tmp_path / "wide", seed=0)
    assert not list(tmp_path.iterdir())
