"""How few steps become an estimate: budgets of stages, missing steps, and the lines for people."""

from __future__ import annotations

import re

import pytest

from omnidistill.core.engines import LocalEngine
from omnidistill.experiments.dry_run import CostEstimate, Stage
from omnidistill.experiments.dry_run import stage_clock as clocks
from omnidistill.experiments.dry_run.expert_estimate import ExpertEstimate
from omnidistill.experiments.dry_run.parallel_units import start_workers
from omnidistill.experiments.dry_run.stage_clock import CHOICE, EXPERTS, EnoughError, StageClock, TimedStage
from omnidistill.experiments.run import load_or_train_experts
from omnidistill.io.tracking import SilentProgress
from small_runs import features, small_config, small_heads


def test_missing_steps_take_as_long_as_the_last_ones() -> None:
    stage = TimedStage("distill", 4, 0.0, [(5.0, 1, {}), (5.5, 0, {}), (6.0, 1, {}), (7.0, 1, {}), (8.0, 1, {})])
    assert (stage.steps, stage.seconds, stage.intervals) == (4, 8.0, [5.0, 1.0, 1.0, 1.0])
    assert stage.seconds_of(10) == 14.0
    assert TimedStage("distill", 4, 0.0).seconds_of(0) == 0.0


def test_a_stage_ends_when_its_budget_is_used_up() -> None:
    clock = StageClock(SilentProgress())
    clock.start(2, EXPERTS)
    clock.advance()
    clock.advance()  # the last step ends nothing
    clock.start(3, EXPERTS)
    clock.advance()
    clock.advance(0, note="not a step")
    with pytest.raises(EnoughError, match=EXPERTS):
        clock.advance()


def test_a_search_that_takes_long_is_cut_and_counts_the_usual_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config()
    experts = config.experts.evolve(num_epochs=None, num_experts=3)
    config = config.evolve(experts=experts, evaluate=config.evaluate.evolve(max_epochs=40))
    monkeypatch.setitem(clocks._BUDGETS, CHOICE, (float("inf"), 0.0))
    source, data = ExpertEstimate(StageClock(SilentProgress())), features()
    buffer = source(data, small_heads(data), config, SilentProgress())
    assert (buffer.num_experts, buffer.num_epochs) == (1, 24)
    assert [(stage.name, stage.steps, stage.about) for stage in source.stages] == [
        (CHOICE, 24, True),
        (EXPERTS, 24, True),
    ]
    monkeypatch.undo()
    made = load_or_train_experts(data, small_heads(data), config)
    source = ExpertEstimate(StageClock(SilentProgress()))
    assert source(data, small_heads(data), config, SilentProgress()).num_epochs == made.num_epochs


def test_an_engine_in_this_process_starts_no_workers() -> None:
    assert start_workers(LocalEngine()) == (1, [], [])
    assert start_workers("local") == (1, [], [])


def test_lines_for_people() -> None:
    stages = (Stage("heads", 3, "epochs", 30.0, 2000), Stage("distill", 10, "iterations", 90.0, 10**7, about=True))
    lines = CostEstimate(stages, 64, 5 * 10**8, ("a remark",)).lines()
    assert lines[0] == "64 training rows; a dry run writes nothing"
    assert "about 10 iterations" in lines[2]
    assert lines[3].split() == ["total", "2.0", "min", "10.0", "MB"]
    assert lines[4] == "memory  500.0 MB at its peak"
    alone = CostEstimate((Stage("sets", 1, "sets", 0.0), Stage("runs", 1, "epochs of 20 runs", 0.0)), 64, None).lines()
    assert [re.split(r" {2,}", line)[1] for line in alone[1:3]] == ["1 set", "1 epoch of 20 runs"]
    assert lines[-2:] == ["note    a remark", "next    the same command without --dry-run"]
    assert CostEstimate(stages, 64, None, elapsed=60.0).seconds == 60.0
