"""How few steps become an estimate: records, steps that fit into some seconds, and the lines for people."""

from __future__ import annotations

import re

import pytest

from omnidistill.core.engines import LocalEngine
from omnidistill.experiments.config import load_config
from omnidistill.experiments.dry_run import CostEstimate, Stage, few_steps
from omnidistill.experiments.dry_run.few_steps import DryRunStore, grown, likely_epochs, method_stage
from omnidistill.experiments.dry_run.parallel_units import start_workers
from omnidistill.experiments.dry_run.recorder import Record, Recorder
from omnidistill.experiments.run import load_or_train_experts
from omnidistill.io.tracking import SilentProgress
from small_runs import features, small_config, small_heads


def recorder_of(*records: Record) -> Recorder:
    recorder = Recorder(SilentProgress())
    recorder.stages += records
    return recorder


def test_a_record_knows_the_epochs_of_every_training_of_a_search() -> None:
    search = Record("search", 1.0, [(2.0, 0, {}), (2.5, 0, {}), (2.5, 1, {}), (4.0, 0, {}), (4.0, 1, {})])
    assert (search.epochs, search.durations, search.seconds) == ([2, 1], [1.0, 0.5, 0.0, 1.5, 0.0], 3.0)
    assert Record("heads", 0.0, [(1.0, 1, {}), (2.0, 1, {})]).epochs == [2]
    assert (Record("heads", 0.0).epochs, Record("heads", 0.0).seconds) == ([0], 0.0)


def test_steps_grow_until_they_fill_some_seconds_or_all_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    now, tried = [0.0], list[int]()
    monkeypatch.setattr(few_steps.time, "monotonic", lambda: now[0])

    def run(steps: int) -> int:
        now[0] += 0.1 * steps + (0.0 if tried else 2.0)  # the first call imports
        tried.append(steps)
        return -steps

    monkeypatch.setattr(few_steps, "_SECONDS", 6.0)
    assert grown(run, 4, 1000) == (-60, 60, pytest.approx(6.0))
    assert tried == [4, 10, 60]
    assert grown(run, 4, 20)[:2] == (-20, 20)
    assert grown(run, 4, 3)[:2] == (-3, 3)


def test_a_training_that_has_not_ended_is_taken_to_last_a_third_longer() -> None:
    assert [likely_epochs(limit, 100) for limit in (4, 16, 40, 90, 100)] == [24, 24, 53, 100, 100]


def test_missing_iterations_take_as_long_as_the_median_and_validations_as_the_last() -> None:
    config = small_config("distill.iterations=100", "distill.validate_every=50")
    loop = Record("distill", 0.0, [(at, 1, {}) for at in (9.0, 10.0, 11.0, 12.0, 13.0, 17.0)])
    stage = method_stage(config, recorder_of(Record("heads", 0.0, [(1.0, 1, {})]), loop), 20.0)
    assert (stage.steps, stage.unit) == (100, "iterations")
    assert stage.seconds == 20.0 + 94 * 1.0 + 1 * 3.0  # of three validations, the first and the last are measured
    complete = small_config("distill.iterations=6", "distill.validate_every=2")
    assert method_stage(complete, recorder_of(loop), 20.0).seconds == 20.0
    ended = method_stage(config, recorder_of(Record("distill", 0.0)), 20.0)
    assert ended.seconds == 20.0  # the loop found that there is nothing to gain


def test_missing_student_steps_count_for_step_sizes_that_go_on() -> None:
    config = load_config(preset="apm", overrides=["distill.max_steps=2048", "distill.learning_rates=[0.1, 1.0]"])
    ended = [(1.0, 0, {"steps": 8}), (2.0, 0, {"steps": 16})]
    goes_on = [(3.0, 0, {"steps": 256}), (5.0, 0, {"steps": 512}), (5.0, 1, {})]
    stage = method_stage(config, recorder_of(Record("recipe", 0.0, ended + goes_on)), 6.0)
    assert (stage.seconds, stage.about) == (6.0 + 2.0 * (2048 - 512) / 256, True)
    assert method_stage(config, recorder_of(Record("recipe", 0.0, ended)), 6.0).seconds == 6.0


def test_a_search_that_takes_long_counts_the_usual_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config()
    experts = config.experts.evolve(num_epochs=None, num_experts=3)
    config = config.evolve(experts=experts, evaluate=config.evaluate.evolve(max_epochs=40))
    monkeypatch.setattr(few_steps, "_SECONDS", 0.0)
    store, data = DryRunStore(), features()
    buffer = store.experts(data, small_heads(data), config, SilentProgress())
    assert (buffer.num_experts, buffer.num_epochs <= few_steps._EPOCHS) == (1, True)
    assert [(stage.name, stage.steps, stage.about) for stage in store.stages] == [
        ("starts", 24, True),
        ("experts", 24, True),
    ]
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
    assert (started.seconds, started.lines()[1].split()) == (62.0, ["program", "1", "start", "2", "s", "-"])
    assert CostEstimate(stages, 64, None).after_start(2.0).seconds == 122.0
