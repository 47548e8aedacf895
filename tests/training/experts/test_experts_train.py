"""Stacked training against each run alone: torch.optim.SGD, autograd, one run at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import PrivateAttr
from torch import Tensor

from omnidistill.core.errors import NotFiniteError
from omnidistill.data.featureset import FeatureSet
from omnidistill.models.heads import Heads
from omnidistill.models.objectives import Hopa, InfoNCE, Objective, PairwiseWbce
from omnidistill.training.experts.epochs import StackedHeads, epoch_orders, stack_runs, train_epochs
from small_runs import features, small_heads

OBJECTIVES: dict[str, Objective] = {
    "hopa": Hopa(),
    "pairwise-wbce": PairwiseWbce(),
    "infonce": InfoNCE(),
}
RATES = torch.tensor([0.05, 0.3, 1.0])
pytestmark = pytest.mark.usefixtures("one_thread")


def train() -> FeatureSet:
    return features().split("train")


def trained(data: FeatureSet, start: Heads, num_epochs: int, **settings: object) -> StackedHeads:
    heads = stack_runs(start, len(RATES))
    arguments = {"batch_size": 24, "seed": 0, "purpose": "test", **settings}
    for _ in train_epochs(InfoNCE(), heads, data, RATES, num_epochs=num_epochs, **arguments):  # type: ignore[arg-type]
        pass
    return heads


def alone(
    value: Callable[[Tensor, Tensor], Tensor],
    data: FeatureSet,
    start: Heads,
    rate: float,
    order: list[list[int]],
    milestone: int = 10**6,
    **settings: float,
) -> Heads:
    """One run: the loss by value only, its gradient by autograd, the update by torch's own SGD."""
    heads = {name: matrix.clone().double().requires_grad_() for name, matrix in start.items()}
    optimiser = torch.optim.SGD(heads.values(), lr=rate, **settings)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [milestone], gamma=0.1)
    for batch in order:
        outputs = torch.stack([data.features[name][batch].double() @ matrix.T for name, matrix in heads.items()])
        groups = [data.groups[row] for row in batch]
        targets = torch.tensor([[float(one == other) for other in groups] for one in groups], dtype=torch.float64)
        optimiser.zero_grad()
        value(outputs, targets).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return {name: matrix.detach() for name, matrix in heads.items()}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_stacked_runs_are_each_run_alone(name: str) -> None:
    """64 rows in batches of 24 give two steps per epoch; the remaining 16 rows are dropped."""
    data = train()
    start, objective = small_heads(data), OBJECTIVES[name].bind(data.modalities)
    heads = stack_runs(start, 3)
    done = list(
        train_epochs(objective, heads, data, RATES, batch_size=24, num_epochs=3, seed=7, purpose="some purpose")
    )
    assert done == [1, 2, 3]
    for run, rate in enumerate(RATES.tolist()):
        batches = []
        for epoch in range(3):
            order = epoch_orders(3, len(data), seed=7, purpose="some purpose", epoch=epoch)[run].tolist()
            batches += [order[:24], order[24:48]]
        expected = alone(objective.value, data, start, rate, batches)
        for modality, matrix in expected.items():
            torch.testing.assert_close(heads[modality][run].double(), matrix, rtol=1e-3, atol=1e-4)
    assert not any(torch.allclose(heads["a"][run], start["a"], atol=1e-3) for run in range(3))


@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_momentum_weight_decay_and_a_tenth_of_the_step_size_are_those_of_torch(
    momentum: float, weight_decay: float
) -> None:
    """Four epochs of two steps; the step sizes are a tenth after three epochs. Runs end at different epochs."""
    data, lasts = train(), [4, 2, 4]
    start, rates = small_heads(data), torch.tensor([0.02, 0.05, 0.1])
    heads = stack_runs(start, 3)
    settings: dict[str, Any] = {"momentum": momentum, "weight_decay": weight_decay, "decay_after": 3}
    settings |= {"seed": 7, "purpose": "test", "last_epochs": lasts}
    for _ in train_epochs(InfoNCE(), heads, data, rates, batch_size=24, num_epochs=4, **settings):
        pass
    for run, rate in enumerate(rates.tolist()):
        batches = []
        for epoch in range(lasts[run]):
            order = epoch_orders(3, len(data), seed=7, purpose="test", epoch=epoch)[run].tolist()
            batches += [order[:24], order[24:48]]
        value, optimiser = InfoNCE().value, {"momentum": momentum, "weight_decay": weight_decay}
        expected = alone(value, data, start, rate, batches, milestone=6, **optimiser)
        for modality, matrix in expected.items():
            torch.testing.assert_close(heads[modality][run].double(), matrix, rtol=1e-3, atol=1e-4)


def test_a_batch_larger_than_the_data_is_all_of_it() -> None:
    data = train()
    whole, larger = (
        trained(data, small_heads(data), 2, batch_size=64),
        trained(data, small_heads(data), 2, batch_size=500),
    )
    assert all(torch.equal(whole[name], larger[name]) for name in whole)
    assert not torch.equal(whole["a"][0], small_heads(data)["a"])


def test_resuming_from_an_epoch_gives_the_same_bits() -> None:
    """The order of an epoch derives from its number, not from what was drawn before it."""
    data = train()
    whole = trained(data, small_heads(data), 3)
    heads = stack_runs(small_heads(data), 3)
    settings = {"batch_size": 24, "seed": 0, "purpose": "test"}
    first = train_epochs(InfoNCE(), heads, data, RATES, num_epochs=3, **settings)  # type: ignore[arg-type]
    assert next(first) == 1
    heads = {name: matrix.clone() for name, matrix in heads.items()}
    rest = train_epochs(InfoNCE(), heads, data, RATES, num_epochs=3, first_epoch=1, **settings)  # type: ignore[arg-type]
    assert list(rest) == [2, 3]
    assert all(torch.equal(heads[name], whole[name]) for name in whole)


@pytest.mark.parametrize("numbers", [1, 10**6], ids=["one run a block", "all in one"])
def test_heads_are_constant_after_the_last_epoch(numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other runs continue unchanged; if all runs of a block have finished, no step is computed."""
    monkeypatch.setattr("omnidistill.training.experts.epochs._CACHED_NUMBERS", numbers)
    data, lasts = train(), (1, 4, 2)
    whole = {epoch: trained(data, small_heads(data), epoch) for epoch in (1, 2, 4)}
    found = trained(data, small_heads(data), 4, last_epochs=lasts)
    for name, matrix in found.items():
        for run, last in enumerate(lasts):
            assert torch.equal(matrix[run], whole[last][name][run])
    standing = trained(data, small_heads(data), 2, last_epochs=(0, 0, 0))
    assert all(torch.equal(standing[name], matrix) for name, matrix in stack_runs(small_heads(data), 3).items())


def test_orders_are_permutations_that_differ_by_run_epoch_purpose_and_seed() -> None:
    orders = [
        order
        for seed, purpose, epoch in itertools.product((0, 1), ("experts", "full"), (0, 1))
        for order in epoch_orders(3, 50, seed=seed, purpose=purpose, epoch=epoch).tolist()
    ]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == len(orders) == 24


def test_a_run_does_not_depend_on_how_many_there_are() -> None:
    few = epoch_orders(2, 50, seed=3, purpose="p", epoch=1)
    assert torch.equal(epoch_orders(5, 50, seed=3, purpose="p", epoch=1)[:2], few)


class Watching(Objective):
    """An objective that records the number of runs of every gradient."""

    objective: Objective = Hopa()
    _num_runs: list[int] = PrivateAttr(default_factory=list)

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.objective.value(outputs, targets)

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        self._num_runs.append(len(outputs))
        return self.objective.gradient(outputs, targets)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_number_of_runs_per_block_changes_no_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One at a time, two and then the third, all together; always over two epochs, with a step size per run."""
    data = train()
    watching = Watching(objective=OBJECTIVES[name].bind(data.modalities))
    found = []

    for numbers, expected in ((1, {1}), (2 * 3 * 24 * 8, {1, 2}), (10**6, {3})):
        monkeypatch.setattr("omnidistill.training.experts.epochs._CACHED_NUMBERS", numbers)
        heads = stack_runs(small_heads(data), 3)
        for _ in train_epochs(watching, heads, data, RATES, batch_size=24, num_epochs=2, seed=0, purpose="test"):
            pass
        found.append(heads)
        assert set(watching._num_runs) == expected
        watching._num_runs.clear()
    assert all(torch.equal(heads[name], found[0][name]) for heads in found[1:] for name in heads)


def test_stacked_heads_are_copies() -> None:
    start = small_heads(train())
    before = {name: matrix.clone() for name, matrix in start.items()}
    heads = stack_runs(start, 2)
    heads["a"][0].add_(1)
    assert torch.equal(heads["a"][1], before["a"])
    for runs in (1, 2):
        stack_runs(start, runs)["a"].add_(1)
    assert all(torch.equal(start[name], before[name]) for name in start)


@pytest.mark.parametrize("run", [0, 1])
def test_divergence_names_purpose_modality_and_epoch(run: int) -> None:
    data = train()
    heads = stack_runs(small_heads(data), 2)
    rates = torch.tensor([0.1, 0.1])
    epochs = train_epochs(InfoNCE(), heads, data, rates, batch_size=32, num_epochs=4, seed=0, purpose="experts")
    assert next(epochs) == 1
    heads["b"][run, 3, 2] = torch.inf
    with pytest.raises(
        NotFiniteError, match=r"^experts: heads of '.' became NaN or Inf in epoch 2; lower the learning"
    ):
        next(epochs)


def test_a_bias_is_added_to_the_outputs_and_stays_constant() -> None:
    """As a column of ones in the features, whose weights do not move."""
    data, start = train(), small_heads(train())
    generator = torch.Generator().manual_seed(0)
    bias = {name: 3.0 * torch.randn(8, generator=generator) for name in start}
    found, without = trained(data, start, 2, bias=bias), trained(data, start, 2)
    for run, rate in enumerate(RATES.tolist()):
        heads = {name: matrix.clone().double() for name, matrix in start.items()}
        for epoch in range(2):
            order = epoch_orders(3, len(data), seed=0, purpose="test", epoch=epoch)[run]
            for batch in order[:48].split(24):
                for matrix in heads.values():
                    matrix.requires_grad_()
                outputs = torch.stack(
                    [data.features[name][batch].double() @ matrix.T + bias[name] for name, matrix in heads.items()]
                )
                codes = data.group_codes[batch]
                loss = InfoNCE().value(outputs, (codes[:, None] == codes).double())
                gradients = torch.autograd.grad(loss, list(heads.values()))
                pairs = zip(heads.items(), gradients, strict=True)
                heads = {name: (matrix - rate * gradient).detach() for (name, matrix), gradient in pairs}
        for name, matrix in heads.items():
            torch.testing.assert_close(found[name][run].double(), matrix, rtol=1e-3, atol=1e-4)
            assert float((found[name][run] - without[name][run]).abs().max()) > 1e-3
