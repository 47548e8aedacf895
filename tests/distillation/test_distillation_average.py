"""The moving average of the learned tensors equals the plain recursion over the iterates, also after interruptions."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from omnidistill.distillation import DistilledSet, ValidationResult
from omnidistill.evaluation.paper_protocol import sgd_recipe
from omnidistill.experiments.config import RunConfig
from omnidistill.io.artifacts import load_artifact
from small_runs import InterruptAfter, Loop, contents, records, small_config

DECAY = 0.8


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    return Loop.make(tmp_path_factory.mktemp("experts"))


def config(average: float, *more: str) -> RunConfig:
    return small_config(f"distill.average={average}", "distill.validate_every=1", *more)


def numbers(found: DistilledSet) -> dict[str, Tensor]:
    """All that is learned, in float64."""
    logs = torch.tensor([math.log(size) for size in sgd_recipe(found).step_sizes], dtype=torch.float64)
    return {"log step sizes": logs, **{name: tensor.double() for name, tensor in found.tensors.items()}}


def validated_sets(loop: Loop, folder: Path, settings: RunConfig) -> list[dict[str, Tensor]]:
    """Return the sets that are validated, at the start and after every iteration."""
    seen: list[dict[str, Tensor]] = []

    def validate(found: DistilledSet) -> ValidationResult:
        seen.append(numbers(found))
        return ValidationResult(float(len(seen)), 4)

    loop.distill(folder, settings, validate=validate)
    return seen


@pytest.mark.parametrize("similarity", ["low-rank", "full"])
def test_it_is_the_plain_recursion_over_the_iterates(similarity: str, loop: Loop, tmp_path: Path) -> None:
    """The average is x_0, then d x + (1 - d) leaf; averaging does not change the leaves."""
    kind = f"distill.similarity.kind={similarity}"
    iterates = validated_sets(loop, tmp_path / "plain", config(0.0, kind))
    averages = validated_sets(loop, tmp_path / "averaged", config(DECAY, kind))
    assert len(iterates) == len(averages) == 7
    expected = iterates[0]
    for step, (iterate, average) in enumerate(zip(iterates, averages, strict=True)):
        if step:
            expected = {name: DECAY * expected[name] + (1 - DECAY) * iterate[name] for name in iterate}
        assert average.keys() == iterate.keys()
        for name, found in average.items():
            torch.testing.assert_close(found, expected[name], rtol=1e-5, atol=1e-6)
    assert all(bool((averages[-1][name] - iterates[-1][name]).abs().max() > 1e-4) for name in expected)
    losses = [[each["loss"] for each in records(tmp_path / name)[1:]] for name in ("plain", "averaged")]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("validated", [True, False])
def test_the_product_is_an_average(validated: bool, loop: Loop, tmp_path: Path) -> None:
    """Without validation, the result is the last average; with it, the best on validation (here the last)."""
    averages = validated_sets(loop, tmp_path / "validated", config(DECAY))
    settings = config(DECAY) if validated else config(DECAY, "distill.validate_every=0")
    made = loop.distill(
        tmp_path / "made", settings, validate=lambda found: ValidationResult(1.0 * (found.provenance.iteration or 0), 4)
    )
    for name, tensor in numbers(made.distilled).items():
        torch.testing.assert_close(tensor, averages[-1][name], rtol=0, atol=0)


@pytest.mark.parametrize("every", [0, 2])
def test_interrupted_often_equals_uninterrupted(every: int, loop: Loop, tmp_path: Path) -> None:
    settings = small_config(f"distill.average={DECAY}", f"distill.validate_every={every}", "distill.iterations=7")
    loop.distill(tmp_path / "whole", settings)

    rows = [f"rows/{name}" for name in loop.data.modalities]
    learned = [*rows, "similarity/diagonal", "similarity/left", "similarity/right", "log_step_sizes"]
    for cut in (1, 2, 5, 7):
        with pytest.raises(KeyboardInterrupt):
            loop.distill(tmp_path / "parts", settings, resume=True, progress=InterruptAfter(cut))
        kept = load_artifact(tmp_path / "parts" / "checkpoint", "checkpoint").tensors
        assert {name for name in kept if "average" in name} == {f"leaf/average/{name}" for name in learned}
    loop.distill(tmp_path / "parts", settings, resume=True)
    assert contents(tmp_path / "parts" / "distilled") == contents(tmp_path / "whole" / "distilled")
    assert (tmp_path / "parts/metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()
