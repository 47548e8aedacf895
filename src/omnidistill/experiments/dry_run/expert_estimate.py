"""The expert stage of a dry run: two epochs of all experts, then one expert for the method to match."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from omnidistill.data.featureset import FeatureSet
from omnidistill.experiments.config import RunConfig
from omnidistill.experiments.dry_run.cost_estimate import Stage
from omnidistill.experiments.dry_run.stage_clock import CHOICE, EXPERTS, HEADS, EnoughError, StageClock, TimedStage
from omnidistill.experiments.run import load_or_train_experts
from omnidistill.io.tracking import Progress, SilentProgress
from omnidistill.models.heads import Heads
from omnidistill.training.experts import ExpertBuffer

USUAL_EPOCHS = 24
"""Epochs that validation chooses on the bundled set; counted where a search takes too long for a dry run."""


def bytes_of(heads: Heads) -> int:
    """Return the size of heads."""
    return sum(matrix.numel() * matrix.element_size() for matrix in heads.values())


@dataclass
class ExpertEstimate:
    """Returns few experts instead of all, and estimates the stages that train all of them.

    Attributes:
        clock: times the stages.
        stages: the estimated stages.
        seconds: time spent here.
    """

    clock: StageClock
    stages: list[Stage] = field(default_factory=list)
    seconds: float = 0.0
    _buffers: dict[str, ExpertBuffer] = field(default_factory=dict)

    def __call__(self, data: FeatureSet, start: Heads, config: RunConfig, progress: Progress) -> ExpertBuffer:
        """Return the experts of these settings; see `experiments.run.ExpertSource`."""
        started_at, key = time.monotonic(), f"{data.modalities} {config.experts!r}"
        if key not in self._buffers:
            self._buffers[key] = self._train(data, start, config)
        self.seconds += time.monotonic() - started_at
        return self._buffers[key]

    def _train(self, data: FeatureSet, start: Heads, config: RunConfig) -> ExpertBuffer:
        settings, timed, before, ended = config.experts, dict[str, list[TimedStage]](), len(self.clock.stages), ""
        while True:
            few, started_at = config.evolve(experts=settings), time.monotonic()
            progress = SilentProgress() if ended == EXPERTS else self.clock
            try:
                buffer, ended = load_or_train_experts(data, start, few, None, progress), ""
            except EnoughError as enough:
                ended = str(enough)
            seconds, stages = time.monotonic() - started_at, self.clock.stages[before:]
            del self.clock.stages[before:]
            for label in {stage.label for stage in stages} - timed.keys():
                timed[label] = [stage for stage in stages if stage.label == label]
            choices = [_choice(stage, config) for stage in timed.get(CHOICE, [])] or [_choice(None, config)]
            if not ended:
                rest = seconds - sum(stage.seconds for stage in stages)
                self._add(start, config, timed, [epochs for _, epochs in choices], rest)
                return buffer
            few_experts = {"num_experts": 1} if ended == EXPERTS else {}
            rate, epochs = choices[0]
            alone = {"num_starts": 1, "random_starts": 0, "learning_rate": rate, "num_epochs": epochs}
            settings = settings.evolve(**alone, **few_experts)

    def _add(
        self, start: Heads, config: RunConfig, timed: dict[str, list[TimedStage]], epochs: list[int], rest: float
    ) -> None:
        settings = config.experts
        if CHOICE in timed:
            self.stages.append(_choice_stage(timed[CHOICE], config))
        others = settings.num_starts - 1
        if others:
            steps = (others - settings.random_starts) * config.heads.num_epochs if HEADS in timed else 0
            done = sum(stage.steps for stage in timed.get(HEADS, []))
            taken = sum(stage.seconds for stage in timed.get(HEADS, [])) * steps / max(done, 1)
            self.stages.append(Stage("other starts", steps, "epochs", taken, others * bytes_of(start)))
        runs, count, own = settings.num_experts, max(epochs) + 1, epochs[0]
        span = min(config.distill.expert_span or own, own)
        spectra = 8 * (own - span + 1) * sum(min(matrix.shape) for matrix in start.values())
        size = count * runs * bytes_of(start) + 4 * runs * len(start) * count**2 + spectra
        taken = timed[EXPERTS][0].seconds_of(count - 1) + rest
        unit = f"epochs of {runs} run{'s' if runs > 1 else ''}"
        self.stages.append(Stage(EXPERTS, count - 1, unit, taken, size, settings.num_epochs is None))


def _choice(stage: TimedStage | None, config: RunConfig) -> tuple[float, int]:
    """Return the step size and epochs that validate best among the finished runs, or the usual ones."""
    settings, rates = config.experts, config.evaluate.learning_rates
    found = [fields for _, n, fields in stage.ticks if n] if stage else []
    best = max(found, key=lambda fields: float(fields["validation"]), default={})
    usual = max(min(USUAL_EPOCHS, config.evaluate.max_epochs), config.distill.last_expert_epoch)
    rate = settings.learning_rate or best.get("learning_rate", rates[(len(rates) - 1) // 2])
    return rate, settings.num_epochs or best.get("epochs", usual)


def _choice_stage(stages: list[TimedStage], config: RunConfig) -> Stage:
    """Return the stage that chooses the training of every start; runs that did not end count as the others."""
    runs = config.experts.num_starts * stages[0].total
    ended = sum(stage.steps for stage in stages)
    judged = sum(not n for stage in stages for _, n, _ in stage.ticks)
    usual = min(USUAL_EPOCHS, config.experts.num_epochs or config.evaluate.max_epochs)
    epochs = judged if ended == runs else round(runs * (judged / ended if ended else max(usual, judged)))
    seconds = sum(stage.seconds for stage in stages) * epochs / judged
    return Stage(CHOICE, epochs, "epochs", seconds, about=True)
