"""An early end: asked after a validation, told, with the best set so far, and the same when cut off and resumed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from omnidistill.distillation import DistilledSet, Verdict
from small_runs import InterruptAfter, Loop, Told, contents, records, small_config

REASON = "nothing to gain: so it is"


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    return Loop.make(tmp_path_factory.mktemp("experts"))


def judge(distilled: DistilledSet) -> Verdict:
    """Iteration 2 is best."""
    return Verdict({2: 0.7}.get(distilled.provenance.iteration or 0, 0.5), 8)


def ended(end: int, best: int) -> str:
    """What is told."""
    return f"{REASON}; ended after {end} of 6 iterations with the set of iteration {best}"


@pytest.mark.parametrize(("end", "best"), [(0, 0), (2, 2), (4, 2), (6, 2)])
def test_it_ends_there_with_the_best_set(end: int, best: int, loop: Loop, tmp_path: Path) -> None:
    asked: list[tuple[int, int, int]] = []

    def halt(done: int, found: DistilledSet) -> str | None:
        asked.append((done, found.provenance.iteration or 0, found.recipe.num_steps))
        return REASON if done == end else None

    told, config = Told(), small_config("distill.validate_every=2")
    made = loop.distill(tmp_path / "run", config, judge=judge, halt=halt, progress=told).distilled
    line = ended(end, best)
    assert asked == [(done, min(done, 2), 8) for done in range(0, end + 1, 2)]
    assert (made.provenance.iteration, made.recipe.num_steps) == (best, 8)
    assert list(made.provenance.notes) == told.notes == [line]
    found = records(tmp_path / "run")
    assert [record["iteration"] for record in found] == list(range(end + 1))
    assert [record.get("notes") for record in found] == [None] * end + [[line]]
    whole = loop.distill(tmp_path / "whole", config, judge=judge).distilled
    assert best == 0 or all(torch.equal(made.tensors[name], x) for name, x in whole.tensors.items())
    assert whole.provenance.notes == ()
    assert DistilledSet.load(tmp_path / "run" / "distilled").provenance == made.provenance


@pytest.mark.parametrize("every", [0, 2])
def test_where_nothing_was_validated_nothing_is_asked(every: int, loop: Loop, tmp_path: Path) -> None:
    """No validation, or none in which a student stayed finite."""
    config = small_config(f"distill.validate_every={every}")
    made = loop.distill(tmp_path, config, judge=lambda _: Verdict(-1.0, 0), halt=lambda *_: REASON).distilled
    assert made.provenance.notes == ()
    assert len(records(tmp_path)) == 7


def test_cut_off_and_resumed_it_comes_to_the_same_end(loop: Loop, tmp_path: Path) -> None:
    config = small_config("distill.validate_every=2")

    def run(place: str, cut: int = 0) -> Told:
        told = InterruptAfter(cut)
        loop.distill(
            tmp_path / place,
            config,
            judge=judge,
            halt=lambda done, _: REASON if done == 4 else None,
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
