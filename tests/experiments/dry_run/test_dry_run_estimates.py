"""How few steps become an estimate: records, searches that fit into some seconds, and the lines for people."""

from __future__ import annotations

import re

import pytest

from omnidistill.core.engines import LocalEngine
from omnidistill.evaluation.baselines import Allowance, baselines
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.experiments.comparison.cells import ComparisonContext
from omnidistill.experiments.comparison.plan import BaselineCell
from omnidistill.experiments.config import load_config
from omnidistill.experiments.dry_run import CostEstimate, Stage, few_steps
from omnidistill.experiments.dry_run.few_steps import Record, Recorder, searched, with_few_steps
from omnidistill.experiments.dry_run.parallel_units import start_workers
from omnidistill.experiments.dry_run.stages import DryRunStore, baseline_stage, method_stage
from omnidistill.experiments.run import load_or_train_experts
from omnidistill.io.tracking import SilentProgress
from small_runs import features, small_config, small_heads


def recorder_of(*records: Record) -> Recorder:
    recorder = Recorder(SilentProgress())
    recorder.stages += records
    return recorder


def test_a_record_knows_its_epochs_and_the_typical_seconds_of_a_step() -> None:
    search = Record("search", 1.0, [(2.0, 0), (2.5, 0), (2.5, 1), (4.0, 0), (4.0, 1)])
    assert (search.epochs, search.seconds) == (3, 3.0)
    heads = Record("heads", 0.0, [(9.0, 1), (10.0, 1), (11.0, 1), (15.0, 1)])
    assert (heads.epochs, heads.seconds, heads.step_seconds) == (4, 15.0, 1.0)
    assert (Record("heads", 0.0).epochs, Record("heads", 0.0).seconds) == (0, 0.0)


def test_a_search_gets_more_epochs_until_it_ends_or_takes_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now, tried = [0.0], list[int]()
    monkeypatch.setattr(few_steps.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(few_steps, "_SECONDS", 6.0)

    def run(limit: int, best: int = 1000) -> tuple[int, int]:
        now[0] += 0.1 * limit + (0.0 if tried else 2.0)  # the first call imports
        tried.append(limit)
        return -limit, min(limit, best)

    assert searched(run, 4, 240) == (-60, pytest.approx(6.0), 1.5)
    assert tried == [4, 10, 60]
    assert searched(run, 60, 70)[2] == pytest.approx(70 / 60)  # no more than the largest number
    monkeypatch.setattr(few_steps, "_SECONDS", 0.6)
    assert searched(run, 4, 240)[2] == pytest.approx(30 / 4)  # a usual search has 30 epochs
    monkeypatch.setattr(few_steps, "_SECONDS", 6.0)
    assert searched(run, 4, 20)[::2] == (-20, 1.0)
    assert searched(run, 4, 3)[::2] == (-3, 1.0)
    assert searched(lambda limit: run(limit, 30), 4, 240)[2] == 1.0  # has ended by itself
    assert searched(lambda limit: run(limit, 0), 4, 240)[::2] == (-4, 1.0)  # searches no epochs


def test_missing_iterations_take_the_median() -> None:
    config = small_config("distill.iterations=100")
    loop = Record("distill", 0.0, [(at, 1) for at in (9.0, 10.0, 11.0, 12.0, 13.0, 17.0)])
    stage = method_stage(config, recorder_of(Record("heads", 0.0, [(1.0, 1)]), loop), 20.0)
    assert (stage.steps, stage.unit, stage.seconds) == (100, "iterations", 20.0 + 94 * 1.0)
    assert method_stage(small_config("distill.iterations=6"), recorder_of(loop), 20.0).seconds == 20.0
    ended = method_stage(config, recorder_of(Record("distill", 0.0)), 20.0)
    assert ended.seconds == 20.0  # the loop found that there is nothing to gain


def test_one_of_the_candidate_step_sizes_is_tried_and_stands_for_all() -> None:
    config = load_config(preset="apm", overrides=["distill.learning_rates=[0.1, 0.3, 1.0, 3.0]", "distill.size=9"])
    assert with_few_steps(config.distill) == config.distill.evolve(learning_rates=(0.3,))
    recipe = Record("recipe", 0.0, [(1.0, 0), (2.0, 1)])
    assert method_stage(config, recorder_of(recipe), 6.0).seconds == 6.0 + 3 * 2.0


@pytest.mark.parametrize(("name", "trainings"), [("zero-shot", 1), ("cca", 1), ("full", 2 + 5), ("low-rank", 3 + 5)])
def test_the_trainings_of_a_baseline_are_counted(name: str, trainings: int) -> None:
    data, evaluate = features(), EvaluateConfig(num_seeds=5, learning_rates=(0.1, 1.0), max_epochs=5)
    allowance = Allowance(4, 10**4)
    context = ComparisonContext(data, small_heads(data), DryRunStore())
    stage = baseline_stage(context, BaselineCell(baselines.build(name), evaluate, 0, size=4, allowance=allowance))
    assert (stage.steps, stage.unit) == (trainings, "trainings")


def test_a_search_that_takes_long_counts_likely_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config()
    experts = config.experts.evolve(num_epochs=None, num_experts=3)
    config = config.evolve(experts=experts, evaluate=config.evaluate.evolve(max_epochs=64))
    monkeypatch.setattr(few_steps, "_SECONDS", 0.0)
    store, data = DryRunStore(), features()
    buffer = store.experts(data, small_heads(data), config, SilentProgress())
    assert (buffer.num_experts, buffer.num_epochs <= 4) == (2, True)
    experts_stage = store.stages[-1]
    assert (experts_stage.steps, experts_stage.about) == (round(30 / 4 * buffer.num_epochs), True)
    assert experts_stage.bytes > 3 * buffer.bytes
    monkeypatch.undo()
    trained = load_or_train_experts(data, small_heads(data), config)
    buffer = DryRunStore().experts(data, small_heads(data), config, SilentProgress())
    assert buffer.num_epochs == trained.num_epochs


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
    started = CostEstimate(stages, 64, None, elapsed=60.0).after_start(2.0)
    assert started.seconds == 62.0
    assert started.lines()[1].split() == ["start", "of", "Python", "and", "PyTorch", "2", "s", "-"]
    assert CostEstimate(stages, 64, None).after_start(2.0).seconds == 122.0
