"""Components of other packages that break their contract give one clear line before or right after they run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import omnidistill as od
from omnidistill.core.errors import InputError
from omnidistill.core.registry import Registry
from omnidistill.distillation import Distillation
from omnidistill.evaluation.baselines import Setting, baselines
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.experiments.table_baselines import check_result
from omnidistill.methods import Task, methods
from omnidistill.models.objectives import Objective, objectives
from plugins import installed
from small_runs import SMALL, cli, features, packed, run_distill, small_heads


class Good(Objective):
    """Half the squared norm of the outputs."""

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.square().sum((-3, -2, -1)) / 2

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs * 1


class WrongShape(Good):
    """Its gradient lacks a dimension."""

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.sum(-1)


class WrongSlope(Good):
    """Its gradient is twice the derivative of its value."""

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return 2 * outputs


class Detached(Good):
    """Its gradient cannot be differentiated."""

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.detach()


class Raising(Good):
    """It fails."""

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        raise RuntimeError("two\nlines")


class Nothing(methods.get("select")):  # type: ignore[misc]
    """A method that returns nothing."""

    def run(self, task: Task) -> Any:
        return None


class TooFew(methods.get("select")):  # type: ignore[misc]
    """A method whose set has one row less than was asked for."""

    def run(self, task: Task) -> Distillation:
        fewer = self.evolve(size=self.num_stored - 1)
        result: Distillation = methods.get("select").run(fewer, task)
        return result


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return packed(tmp_path / "SET", features(2))


@pytest.fixture(autouse=True)
def _plugins() -> Iterator[None]:
    with installed(objectives), installed(methods), installed(baselines):
        yield


@pytest.mark.parametrize(
    ("component", "message"),
    [
        (WrongShape, r"gradient\(\) returned \(2, 3\), expected a tensor of shape \(2, 3, 4\)"),
        (WrongSlope, r"gradient\(\) does not return the derivative of value\(\)"),
        (Detached, r"gradient\(\) must return finite, differentiable values"),
        (
            Raising,
            r"value\(\) or gradient\(\) raised an error for outputs of shape \(2, 3, 4\) \(RuntimeError: two lines\)",
        ),
    ],
)
def test_an_objective_is_tried_before_anything_is_written(
    component: type[Objective], message: str, data: Path, tmp_path: Path
) -> None:
    od.objectives.register("broken")(component)
    config = od.load_config(preset="smoke", overrides=["distill.student=broken"])
    with pytest.raises(InputError, match=f"objective 'broken' from package '.*': {message}"):
        run_distill(str(data), config, tmp_path / "RUN")
    assert not (tmp_path / "RUN").exists() or not any((tmp_path / "RUN").rglob("*.safetensors"))


def test_an_objective_that_keeps_the_contract_is_accepted(data: Path, tmp_path: Path) -> None:
    od.objectives.register("good")(Good)
    config = od.load_config(preset="smoke", overrides=["distill.student=good", "distill.iterations=1"])
    assert run_distill(str(data), config, tmp_path / "RUN").finished


@pytest.mark.parametrize(
    ("component", "message"),
    [
        (Nothing, "run() returned a NoneType, but must return a Distillation"),
        (TooFew, "run() returned a synthetic set with 5 rows and the modalities a, b; it must have 6 rows"),
    ],
)
def test_a_method_must_return_the_set_that_was_asked_for(
    component: type[od.Method], message: str, data: Path, tmp_path: Path
) -> None:
    od.methods.register("broken")(component)
    settings = ("--set", "distill.kind=broken", "--size", 6, "--set", "distill.max_steps=8")
    outcome = cli("distill", data, *SMALL, *settings, "-o", tmp_path / "RUN")
    assert outcome.code == 2
    assert message in outcome.err.splitlines()[-1]


def test_a_baseline_must_return_heads_of_the_modalities() -> None:
    class Wide(od.Baseline):
        """Heads of another width than the features."""

        def fit(self, setting: Setting) -> TrainedHeads:
            return TrainedHeads("wide", ({"a": torch.zeros(1, 8, 99)},), 0, 0.0, {})

    od.baselines.register("wide")(Wide)
    start = small_heads(features(2))
    setting: Any = None
    with pytest.raises(
        InputError,
        match=r"baseline 'wide'.*heads of shape \(1, 8, 99\) for modality 'a'; return heads of shape \(runs, .*, 12\)",
    ):
        check_result(Wide(), Wide().fit(setting), start)
    broken: Any = {}
    with pytest.raises(InputError, match=r"fit\(\) returned a dict, but must return TrainedHeads"):
        check_result(Wide(), broken, start)


def test_a_class_that_lacks_a_function_is_refused_when_it_is_registered() -> None:
    class Half(Objective):
        """It has no gradient."""

        def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
            return outputs.sum((-3, -2, -1))

    with pytest.raises(InputError, match=r"objective 'half'.*Half does not define gradient"):
        od.objectives.register("half")(Half)
    unrelated: Any = dict
    with pytest.raises(InputError, match=r"must be a subclass of .*Objective"):
        od.objectives.register("unrelated")(unrelated)


def test_a_plugin_that_cannot_be_loaded_says_why(data: Path) -> None:
    with installed(objectives, {"missing": "no_such_module:Thing"}):
        registry: Registry[Any] = objectives
        assert "missing" in registry.names()
        outcome = cli("distill", data, *SMALL, "--set", "distill.student=missing", "-o", data.parent / "RUN")
    assert outcome.code == 2
    assert "objective 'missing'" in outcome.err
    assert "ModuleNotFoundError" in outcome.err
    assert len(outcome.err.splitlines()) == 1
