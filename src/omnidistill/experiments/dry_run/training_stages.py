"""What training heads on real rows takes: pre-training, choosing how to train, experts and what is kept of them.

Validation decides how long training goes on where settings leave it open: see `searching`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from omnidistill.data.featureset import Development, FeatureSet
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.evaluation.validation import run_of, validation_score
from omnidistill.experiments.config import RunConfig
from omnidistill.experiments.dry_run.cost_estimate import Stage
from omnidistill.experiments.dry_run.parallel_estimate import Spread
from omnidistill.experiments.dry_run.search_estimate import USUAL_EPOCHS, Run, Searched, tried_search
from omnidistill.io.artifacts import write_tensors
from omnidistill.models.heads import Heads
from omnidistill.models.objectives import InfoNCE, Objective
from omnidistill.training.experts import ExpertsConfig, stack_runs, train_epochs
from omnidistill.training.experts.epochs import run_blocks
from omnidistill.training.rank_floor import singular_values

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
    some, heads = rows.select(torch.arange(few * batch, device="cpu")), stack_runs(start, num_runs)

    def train() -> None:
        rates = torch.full((num_runs,), 1e-3, device="cpu")
        epochs = train_epochs(
            objective, heads, some, rates, batch_size=batch, num_epochs=1, seed=0, purpose="rehearsal"
        )
        for _ in epochs:
            pass

    return usual_seconds(train) * steps / few


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

    def search(
        self,
        objective: Objective,
        rates: Sequence[float],
        *,
        batch_size: int,
        longest: int,
        epoch: float,
        seed: int,
        purpose: str,
    ) -> Searched:
        """The search over step sizes, of one run each, of `longest` epochs at most: that of the same seed and purpose.

        epoch: seconds of one.
        """
        key = f"{purpose} {objective!r} {tuple(rates)} {batch_size} {longest} {seed}"
        if key not in self.known:
            runs = (self._run(objective, rate, batch_size, longest, seed, purpose) for rate in rates)
            self.known[key] = tried_search(runs, len(rates), longest, epoch + self.score)
        found: Searched = self.known[key]
        return found

    def _run(self, objective: Objective, rate: float, batch_size: int, longest: int, seed: int, purpose: str) -> Run:
        heads, train = stack_runs(self.start, 1), self.data.train
        rates = torch.tensor([rate], device="cpu")
        epochs = train_epochs(
            objective, heads, train, rates, batch_size=batch_size, num_epochs=longest, seed=seed, purpose=purpose
        )
        return epochs, lambda: validation_score(run_of(heads, 0), self.data.validation)

    def pretraining(self, config: RunConfig, name: str = "heads") -> Stage:
        """The stage that makes the heads where none are given."""
        settings, rows = config.heads, self.data.heads
        if rows is None or not settings.num_epochs:
            return Stage(name, 0, "epochs", 0.0, self.bytes)
        epoch = epoch_seconds(InfoNCE(tau=settings.tau), self.start, 1, rows, settings.batch_size)
        return Stage(name, settings.num_epochs, "epochs", settings.num_epochs * (epoch + self.score), self.bytes)

    def choosing(
        self, settings: ExpertsConfig, evaluate: EvaluateConfig, seed: int
    ) -> tuple[list[Stage], ExpertsConfig]:
        """The stage that chooses the training of every start, where open; and the settings as they usually come out."""
        if settings.learning_rate is not None and settings.num_epochs is not None:
            return [], settings
        rates = evaluate.learning_rates if settings.learning_rate is None else (settings.learning_rate,)
        longest = settings.num_epochs or evaluate.max_epochs
        objective = settings.objective.bind(tuple(self.start))
        epoch = epoch_seconds(objective, self.start, 1, self.data.train, settings.batch_size)
        found = self.search(
            objective,
            rates,
            batch_size=settings.batch_size,
            longest=longest,
            epoch=epoch,
            seed=seed,
            purpose="experts/choose",
        )
        count = settings.num_starts * found.judged
        chosen = {"learning_rate": rates[0], "num_epochs": settings.num_epochs or found.chosen}
        stage = Stage("choose the experts' training", count, "epochs", count * (epoch + self.score), usual=True)
        return [stage], settings.evolve(**chosen)

    def experts(self, config: RunConfig, place: Path, spread: Spread | None = None) -> list[Stage]:
        """The stages up to the buffer; `place` is written to. spread: of blocks of runs, where they are units."""
        seed = config.seed if config.experts.seed is None else config.experts.seed
        stages, settings = self.choosing(config.experts, config.evaluate, seed)
        num_runs, num_epochs = settings.num_experts, settings.num_epochs or USUAL_EPOCHS
        if settings.num_starts > 1:
            made, others = self.pretraining(config), settings.num_starts - 1
            trained = others - settings.random_starts
            stages.append(
                Stage("other starts", trained * made.steps, "epochs", trained * made.seconds, others * made.bytes)
            )
        objective = settings.objective.bind(tuple(self.start))
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
    return min(config.distill.expert_span or num_epochs, num_epochs)
