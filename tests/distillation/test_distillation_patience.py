"""Patience: the loop stops after a number of validations without a better score, also after a resume, and says why."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from omnidistill.core.errors import InputError
from omnidistill.distillation import DistilledSet, ValidationResult
from omnidistill.experiments.config import RunConfig
from small_runs import InterruptAfter, Loop, NoteRecorder, contents, records, small_config

SCORES = {0: 0.3, 2: 0.5, 4: 0.7, 6: 0.6, 8: 0.7, 10: 0.65}
"""Iteration 4 is best; an equal score at 8 is no improvement."""


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    return Loop.make(tmp_path_factory.mktemp("experts"))


def validate(distilled: DistilledSet) -> ValidationResult:
    return ValidationResult(SCORES.get(distilled.provenance.iteration or 0, 0.1), 8)


def config_of(patience: int, iterations: int = 12, every: int = 2) -> RunConfig:
    return small_config(
        f"distill.patience={patience}", f"distill.validate_every={every}", f"distill.iterations={iterations}"
    )


def note(stalled: int, end: int) -> str:
    after = f"stopped after {end} of 12 iterations, with the set from iteration 4"
    return f"no better validation score in {stalled} validations; {after}"


@pytest.mark.parametrize(("patience", "end"), [(1, 6), (2, 8), (3, 10), (4, 12), (0, 12)])
def test_it_stops_after_this_number_of_validations(patience: int, end: int, loop: Loop, tmp_path: Path) -> None:
    """With a patience of 4, the loop would stop after its last iteration, which is no early stop."""
    told, config = NoteRecorder(), config_of(patience)
    made = loop.distill(tmp_path / "run", config, validate=validate, progress=told).distilled
    assert made.provenance.iteration == 4
    assert told.notes == list(made.provenance.notes) == ([] if end == 12 else [note(patience, end)])
    found = records(tmp_path / "run")
    assert [record["iteration"] for record in found] == list(range(end + 1))
    assert [(r["iteration"], r["best_iteration"]) for r in found if "validation" in r] == [
        (iteration, min(iteration, 4)) for iteration in range(0, end + 1, 2)
    ]
    whole = loop.distill(tmp_path / "whole", config_of(0), validate=validate).distilled
    assert all(torch.equal(made.tensors[name], x) for name, x in whole.tensors.items())


def test_a_run_without_validation_has_no_patience(loop: Loop, tmp_path: Path) -> None:
    loop.distill(tmp_path / "off", config_of(1, every=0), validate=validate)
    loop.distill(tmp_path / "none", config_of(1), validated=False)
    diverged = ValidationResult(-1.0, 0)
    loop.distill(tmp_path / "diverged", config_of(1), validate=lambda _: diverged)
    assert all(len(records(tmp_path / name)) == 13 for name in ("off", "none", "diverged"))


def test_a_reason_of_the_stop_criterion_comes_first(loop: Loop, tmp_path: Path) -> None:
    made = loop.distill(
        tmp_path, config_of(1), validate=validate, stop_criterion=lambda done, _: "enough" if done == 6 else None
    )
    assert made.distilled.provenance.notes[0].startswith("enough; stopped after 6 of 12")


@pytest.mark.parametrize("cuts", [(3,), (5, 6), (7,), (1, 4, 7)])
def test_an_interrupted_run_stops_at_the_same_iteration(cuts: tuple[int, ...], loop: Loop, tmp_path: Path) -> None:
    """Interrupted before, between and after the validations without a better score, up to the last iteration."""
    config = config_of(2)
    loop.distill(tmp_path / "whole", config, validate=validate)
    for cut in cuts:
        with pytest.raises(KeyboardInterrupt):
            loop.distill(tmp_path / "parts", config, validate=validate, resume=True, progress=InterruptAfter(cut))
    loop.distill(tmp_path / "parts", config, validate=validate, resume=True)
    assert contents(tmp_path / "parts" / "distilled") == contents(tmp_path / "whole" / "distilled")
    assert (tmp_path / "parts/metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()
    assert DistilledSet.load(tmp_path / "parts" / "distilled").provenance.notes == (note(2, 8),)


def test_an_interrupt_in_the_iteration_that_stops_gives_the_result(loop: Loop, tmp_path: Path) -> None:
    """The run is finished then; a signal that arrives while it stops does not discard it."""
    made = loop.distill(tmp_path / "parts", config_of(2), validate=validate, progress=InterruptAfter(8))
    whole = loop.distill(tmp_path / "whole", config_of(2), validate=validate)
    assert made.records == whole.records
    assert contents(tmp_path / "parts" / "distilled") == contents(tmp_path / "whole" / "distilled")


def test_a_checkpoint_with_another_patience_is_refused(loop: Loop, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        loop.distill(tmp_path, config_of(2), validate=validate, progress=InterruptAfter(3))
    with pytest.raises(InputError, match="checkpoint belongs to another run"):
        loop.distill(tmp_path, config_of(3), validate=validate, resume=True)
