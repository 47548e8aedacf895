"""What training heads on real rows takes: pre-training, choosing how to train, experts and what is kept of them.

Validation decides how long training goes on where settings leave it open. The search at the middle step size is tried
for some seconds, and the others are taken to be 1.2 times as long: so it was on two kinds of data, which took 24 and 46
epochs on average. Where an epoch is too long for that, 24 count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from omnidistill.artifacts import write_tensors
from omnidistill.config import EvaluateConfig, ExpertsConfig, RunConfig, TrajectoryConfig
from omnidistill.evaluation.choosing import run_of, validation_score
from omnidistill.evaluation.training import best_epoch
from omnidistill.experts import stack_runs, train_epochs
from omnidistill.experts.train import run_blocks
from omnidistill.features.featureset import Development, FeatureSet
from omnidistill.floor import singular_values
from omnidistill.heads import Heads
from omnidistill.objectives import InfoNCE, Objective, objective_from
from omnidistill.rehearsal.foreseen import Stage
from omnidistill.rehearsal.spreading import Spread

USUAL_EPOCHS = 24
"""Epochs until validation stops rising, and that are tried at each step size."""

TRIED_SECONDS = 3.0
"""How long a search that validation ends is tried at most."""

_OF_OTHERS = 1.2  # epochs at all step sizes, their mean, over those at the middle one
_FEWEST_TRIED = 8  # epochs; fewer within these seconds say nothing
_FEW_STEPS = 6
_ENOUGH, _MOST = 0.3, 5  # seconds that a piece of work is repeated for, and how often at most


def usual_seconds(work: Callable[[], object]) -> float:
    """Seconds of a piece of work: the mean of some turns, after one that does not count."""
    work()
    begun, turns = time.monotonic(), 0
    while turns < _MOST and (not turns or time.monotonic() - begun < _ENOUGH):
        work()
        turns += 1
    return (time.monotonic() - begun) / turns


def epoch_seconds(objective: Objective, start: Heads, num_runs: int, rows: FeatureSet, batch_size: int) -> float:
    """Seconds of an epoch of so many runs over these rows, from a few steps of it."""
    batch = min(batch_size, len(rows))
    steps = len(rows) // batch
    few = min(steps, _FEW_STEPS)
    some, heads = rows.select(torch.arange(few * batch)), stack_runs(start, num_runs)

    def train() -> None:
        rates = torch.full((num_runs,), 1e-3)
        epochs = train_epochs(
            objective, heads, some, rates, batch_size=batch, num_epochs=1, seed=0, purpose="rehearsal"
        )
        for _ in epochs:
            pass

    return usual_seconds(train) * steps / few


def tried_epochs(epochs: Iterable[int], score: Callable[[], float], each: float) -> tuple[int, bool]:
    """How many epochs a search judges within some seconds, and whether it had ended by then; none where the seconds of
    `each` are too long.
    """
    if _FEWEST_TRIED * each > TRIED_SECONDS:
        return 0, False
    begun, ended = time.monotonic(), True

    def within() -> Iterator[int]:
        nonlocal ended
        for epoch in epochs:
            yield epoch
            if time.monotonic() - begun > TRIED_SECONDS:
                ended = False
                return

    return best_epoch(within(), score)[2], ended


@dataclass(frozen=True)
class Measured:
    """What training one kind of heads on these data takes. score: of a validation. known: what was found once."""

    start: Heads
    data: Development
    score: float
    known: dict[str, Any] = field(default_factory=dict, compare=False)

    @staticmethod
    def of(start: Heads, data: Development) -> Measured:
        """Times a validation."""
        return Measured(start, data, usual_seconds(lambda: validation_score(start, data.validation)))

    @property
    def bytes(self) -> int:
        """Of the heads."""
        return sum(matrix.numel() * matrix.element_size() for matrix in self.start.values())

    def search(self, objective: Objective, rates: Sequence[float], batch_size: int, longest: int, epoch: float) -> int:
        """Epochs that are judged at a step size, the mean of all; `longest` at most. epoch: its seconds."""
        key = f"search {objective!r} {tuple(rates)} {batch_size}"
        if key not in self.known:
            heads = stack_runs(self.start, 1)
            rate = torch.tensor([rates[(len(rates) - 1) // 2]])
            epochs = train_epochs(
                objective,
                heads,
                self.data.train,
                rate,
                batch_size=batch_size,
                num_epochs=longest,
                seed=0,
                purpose="rehearsal",
            )
            self.known[key] = tried_epochs(
                epochs, lambda: validation_score(run_of(heads, 0), self.data.validation), epoch + self.score
            )
        found: tuple[int, bool] = self.known[key]
        count, ended = found
        usual = round(count * (_OF_OTHERS if len(rates) > 1 else 1.0)) or 1
        return min(longest, usual if ended else max(usual, USUAL_EPOCHS))

    def pretraining(self, config: RunConfig, name: str = "heads") -> Stage:
        """The stage that makes the heads where none are given."""
        settings, rows = config.heads, self.data.heads
        if rows is None or not settings.num_epochs:
            return Stage(name, 0, "epochs", 0.0, self.bytes)
        epoch = epoch_seconds(InfoNCE(settings.tau), self.start, 1, rows, settings.batch_size)
        return Stage(name, settings.num_epochs, "epochs", settings.num_epochs * (epoch + self.score), self.bytes)

    def choosing(self, settings: ExpertsConfig, evaluate: EvaluateConfig) -> tuple[list[Stage], ExpertsConfig]:
        """The stage that chooses the training of every start, where open; and the settings as they usually come out."""
        if settings.learning_rate is not None and settings.num_epochs is not None:
            return [], settings
        rates = evaluate.learning_rates if settings.learning_rate is None else (settings.learning_rate,)
        longest = settings.num_epochs or evaluate.max_epochs
        objective = objective_from(settings.objective, tuple(self.start))
        epoch = epoch_seconds(objective, self.start, 1, self.data.train, settings.batch_size)
        epochs = self.search(objective, rates, settings.batch_size, longest, epoch)
        count = settings.num_starts * len(rates) * epochs
        chosen = {"learning_rate": rates[0], "num_epochs": settings.num_epochs or epochs}
        stage = Stage("choose the experts' training", count, "epochs", count * (epoch + self.score), usual=True)
        return [stage], settings.model_copy(update=chosen)

    def experts(self, config: RunConfig, place: Path, spread: Spread | None = None) -> list[Stage]:
        """The stages up to the buffer; `place` is written to. spread: of blocks of runs, where they are units."""
        stages, settings = self.choosing(config.experts, config.evaluate)
        num_runs, num_epochs = settings.num_experts, settings.num_epochs or USUAL_EPOCHS
        if settings.num_starts > 1:
            made, others = self.pretraining(config), settings.num_starts - 1
            trained = others - settings.random_starts
            stages.append(
                Stage("other starts", trained * made.steps, "epochs", trained * made.seconds, others * made.bytes)
            )
        objective = objective_from(settings.objective, tuple(self.start))
        epoch = epoch_seconds(objective, self.start, num_runs, self.data.train, settings.batch_size)
        stacked, count = stack_runs(self.start, num_runs), num_epochs + 1
        writing = usual_seconds(lambda: write_tensors(place / "snapshot.safetensors", stacked))
        pairs, starts = num_runs * count * (count - 1) // 2, count - _span(config, num_epochs)
        training = num_epochs * (epoch + writing) + writing
        if spread is not None and not spread.here:
            blocks = run_blocks(stacked, min(settings.batch_size, len(self.data.train)))
            units = {str(runs): training * (runs.stop - runs.start) / num_runs for runs in blocks}
            training = spread.seconds(units) + 2 * count * writing  # put together: read, and written again
        seconds = training + pairs * self._distance() + starts * self._spectrum()
        num_bytes = count * num_runs * self.bytes + self._kept(num_runs, count, starts)
        usual = config.experts.num_epochs is None
        unit = f"epochs of {num_runs} run{'s' if num_runs > 1 else ''}"
        return [*stages, Stage("experts", num_epochs, unit, seconds, num_bytes, usual)]

    def _kept(self, num_runs: int, count: int, starts: int) -> int:
        """Bytes of the squared distances (float32) and spectra (float64)."""
        distances = 4 * num_runs * len(self.start) * count**2
        return distances + 8 * starts * sum(min(matrix.shape) for matrix in self.start.values())

    def _distance(self) -> float:
        """Seconds of one ||W_s - W_t||^2 of every modality."""
        gaps = {name: torch.empty_like(matrix) for name, matrix in self.start.items()}
        return usual_seconds(
            lambda: [torch.sub(matrix, 1, out=gaps[name]).square_().sum() for name, matrix in self.start.items()]
        )

    def _spectrum(self) -> float:
        return usual_seconds(lambda: [singular_values(matrix) for matrix in self.start.values()])


def _span(config: RunConfig, num_epochs: int) -> int:
    """Epochs that the differences of the spectra span."""
    settings = config.distill
    span = settings.num_expert_epochs or num_epochs if isinstance(settings, TrajectoryConfig) else 1
    return min(span, num_epochs)
