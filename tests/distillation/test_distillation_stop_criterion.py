"""The stop criterion: called after each validation, reported, ends with the best set so far, also after a resume."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from omnidistill.distillation import DistilledSet, ValidationResult
from small_runs import InterruptAfter, Loop, NoteRecorder, contents, records, small_config

REASON = "nothing to gain: so it is"


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    return Loop.make(tmp_path_factory.mktemp("experts"))


def validate(distilled: DistilledSet) -> ValidationResult:
    """Iteration 2 is best."""
    return ValidationResult({2: 0.7}.get(distilled.provenance.iteration or 0, 0.5), 8)


def ended(end: int, best: int) -> str:
    """Return the note with which the loop stops."""
    return f"{REASON}; stopped after {end} of 6 iterations, with the set from iteration {best}"


@pytest.mark.parametrize(("end", "best"), [(0, 0), (2, 2), (4, 2), (6, 2)])
def test_the_loop_stops_with_the_best_set(end: int, best: int, loop: Loop, tmp_path: Path) -> None:
    asked: list[tuple[int, int, int]] = []

    def stop_criterion(done: int, found: DistilledSet) -> str | None:
        asked.append((done, found.provenance.iteration or 0, found.recipe.num_steps))
        return REASON if done == end else None

    told, config = NoteRecorder(), small_config("distill.validate_every=2")
    made = loop.distill(
        tmp_path / "run", config, validate=validate, stop_criterion=stop_criterion, progress=told
    ).distilled
    line = ended(end, best)
    assert asked == [(done, min(done, 2), 8) for done in range(0, end + 1, 2)]
    assert (made.provenance.iteration, made.recipe.num_steps) == (best, 8)
    assert list(made.provenance.notes) == told.notes == [line]
    found = records(tmp_path / "run")
    assert [record["iteration"] for record in found] == list(range(end + 1))
    assert [record.get("notes") for record in found] == [None] * end + [[line]]
    whole = loop.distill(tmp_path / "whole", config, validate=validate).distilled
    assert best == 0 or all(torch.equal(made.tensors[name], x) for name, x in whole.tensors.items())
    assert whole.provenance.notes == ()
    assert DistilledSet.load(tmp_path / "run" / "distilled").provenance == made.provenance


@pytest.mark.parametrize("every", [0, 2])
def test_it_is_not_called_without_a_validation_score(every: int, loop: Loop, tmp_path: Path) -> None:
    """The criterion is not called without validation, or if no student has a finite score."""
    config = small_config(f"distill.validate_every={every}")
    diverged = ValidationResult(-1.0, 0)
    made = loop.distill(tmp_path, config, validate=lambda _: diverged, stop_criterion=lambda *_: REASON).distilled
    assert made.provenance.notes == ()
    assert len(records(tmp_path)) == 7


def test_a_resumed_run_stops_in_the_same_way(loop: Loop, tmp_path: Path) -> None:
    config = small_config("distill.validate_every=2")

    def run(place: str, cut: int = 0) -> NoteRecorder:
        told = InterruptAfter(cut)
        loop.distill(
            tmp_path / place,
            config,
            validate=validate,
            stop_criterion=lambda done, _: REASON if done == 4 else None,
            notes=["beware"],
            resume=True,
            progress=told,
        )
        return told

    assert run("whole").notes == ["beware", ended(4, 2)]
    for cut in (1, 2, 3):
        with pytest.raises(KeyboardInterrupt):
            run("parts", cut)
    assert run("parts").notes == [ended(4, 2)]  # the other was told when the run began
    assert contents(tmp_path / "parts" / "distilled") == contents(tmp_path / "whole" / "distilled")
    assert (tmp_path / "parts/metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()
    made = DistilledSet.load(tmp_path / "whole" / "distilled")
    assert made.provenance.notes == ("beware", ended(4, 2))
    assert records(tmp_path / "whole")[0]["notes"] == ["beware"]
