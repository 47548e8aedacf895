"""The dual rollout against back-propagation, PyTorch's optimiser, finite differences, and itself in other pieces."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnidistill.models.heads import stack
from omnidistill.models.objectives import Hopa, InfoNCE, Objective, PairwiseWbce
from omnidistill.models.similarities import Full, LowRank, Similarity
from omnidistill.training.rollout import DualEndpoint, Rollout, bptt_rollout, dual_rollout, tesla_rollout
from omnidistill.training.rollout.dual import DualState, dual_steps
from rollout_problems import Problem, answers, assert_close, matching_gradients, problem, relative_error, roll

EXACT = 1e-9
OPTIMISERS = [(0.0, 0.0), (0.9, 0.0), (0.0, 0.05), (0.9, 0.05)]


@pytest.mark.parametrize("num_modalities", [2, 3, 4, 5, 6])
@pytest.mark.parametrize(("momentum", "weight_decay"), OPTIMISERS)
def test_equals_backpropagation_for_any_number_of_modalities(
    num_modalities: int, momentum: float, weight_decay: float
) -> None:
    made = problem(num_modalities=num_modalities)
    assert_close(
        answers(dual_rollout, made, momentum, weight_decay), answers(bptt_rollout, made, momentum, weight_decay), EXACT
    )


@pytest.mark.parametrize(
    "objective", [Hopa(), PairwiseWbce(tau=0.2, anchor=1), PairwiseWbce(tau=0.2), InfoNCE(tau=0.2)]
)
@pytest.mark.parametrize("similarity", [LowRank(rank=3, alpha=0.7), Full()])
@pytest.mark.parametrize("per_step", [False, True])
def test_equals_backpropagation_for_any_objective_similarity_and_step_sizes(
    objective: Objective, similarity: Similarity, per_step: bool
) -> None:
    made = problem(objective=objective, similarity=similarity, per_step=per_step)
    if isinstance(objective, InfoNCE):  # affinities are positive
        made = replace(made, factors={name: x.detach().abs().requires_grad_() for name, x in made.factors.items()})
    found = answers(dual_rollout, made, 0.9, 0.05)
    assert found["gradient of step sizes"].shape == made.step_sizes.shape
    assert_close(found, answers(bptt_rollout, made, 0.9, 0.05), EXACT)


@pytest.mark.parametrize(
    "made",
    [
        problem(batch_size=7),
        problem(batch_size=7, num_steps=1),
        problem(num_steps=1),
        problem(num_steps=1, per_step=True),
        problem(batch_size=1, num_steps=3, similarity=Full()),
        problem(num_rows=40, num_steps=3),
        problem(num_rows=3, batch_size=3, similarity=LowRank(rank=3)),
        problem(bias=True, per_step=True),
        problem(num_steps=30, step_size=0.3),
    ],
    ids=["b=N", "b=N, T=1", "T=1", "T=1 per step", "b=1", "rows unvisited", "N<p", "bias", "T=30"],
)
@pytest.mark.parametrize(("momentum", "weight_decay"), [(0.0, 0.0), (0.9, 0.05)])
def test_equals_backpropagation_at_the_edges(made: Problem, momentum: float, weight_decay: float) -> None:
    assert_close(
        answers(dual_rollout, made, momentum, weight_decay), answers(bptt_rollout, made, momentum, weight_decay), EXACT
    )


@given(
    num_modalities=st.integers(2, 6),
    num_rows=st.integers(2, 9),
    share=st.floats(0, 1),
    num_steps=st.integers(1, 6),
    per_step=st.booleans(),
    optimiser=st.sampled_from(OPTIMISERS),
    seed=st.integers(0, 10**6),
)
@settings(deadline=None, max_examples=20)
def test_equals_backpropagation_for_any_shape(
    num_modalities: int,
    num_rows: int,
    share: float,
    num_steps: int,
    per_step: bool,
    optimiser: tuple[float, float],
    seed: int,
) -> None:
    made = problem(
        num_modalities=num_modalities,
        num_rows=num_rows,
        batch_size=1 + round(share * (num_rows - 1)),
        num_steps=num_steps,
        per_step=per_step,
        objective=PairwiseWbce(tau=0.3),
        seed=seed,
    )
    assert_close(answers(dual_rollout, made, *optimiser), answers(bptt_rollout, made, *optimiser), EXACT)


@pytest.mark.parametrize("objective", [Hopa(), PairwiseWbce(tau=0.2), InfoNCE(tau=0.2)])
@pytest.mark.parametrize(("momentum", "weight_decay"), OPTIMISERS)
@pytest.mark.parametrize("rollout", [dual_rollout, bptt_rollout])
def test_trains_as_linear_layers_under_the_optimiser_of_pytorch(
    objective: Objective, momentum: float, weight_decay: float, rollout: Rollout
) -> None:
    """Layers with a bias, the value's own gradient, torch.optim.SGD; here the bias is the last column."""
    made = problem(objective=objective, bias=True, per_step=True, similarity=Full())
    made = replace(made, factors={"matrix": made.factors["matrix"].detach().abs().requires_grad_()})
    layers = {}
    for name, matrix in made.start.items():
        d, p = matrix.shape
        layers[name] = torch.nn.utils.skip_init(torch.nn.Linear, p - 1, d, dtype=torch.float64)
        with torch.no_grad():
            layers[name].weight.copy_(matrix[:, :-1])
            layers[name].bias.copy_(matrix[:, -1])
    optimiser = torch.optim.SGD(
        [{"params": layer.parameters()} for layer in layers.values()],
        lr=1.0,
        momentum=momentum,
        weight_decay=weight_decay,
    )
    for t, batch in enumerate(made.batches):
        for group, size in zip(optimiser.param_groups, made.step_sizes[t].tolist(), strict=True):
            group["lr"] = size
        outputs = torch.stack([layer(made.rows[name].detach()[batch, :-1]) for name, layer in layers.items()])
        optimiser.zero_grad()
        objective.value(outputs, made.targets[t].detach()).backward()
        optimiser.step()
    trained = {name: torch.cat([layer.weight, layer.bias[:, None]], 1).detach() for name, layer in layers.items()}
    end = roll(rollout, made, momentum, weight_decay)
    assert_close({name: x.detach() for name, x in end.heads().items()}, trained, EXACT)
    expected = {name: x @ trained[name].mT for name, x in made.fresh.items()}
    assert_close({name: x.detach() for name, x in end.outputs(made.fresh).items()}, expected, EXACT)


def test_equals_finite_differences() -> None:
    """The reference does not use autograd: data, targets and step sizes are perturbed manually."""
    made = problem(num_modalities=2, num_rows=4, batch_size=3, num_steps=3, similarity=Full(), width=3, widths=(3, 4))

    def distances(first: Tensor, second: Tensor, matrix: Tensor, step_sizes: Tensor) -> Tensor:
        moved = replace(made, rows={"m0": first, "m1": second}, factors={"matrix": matrix}, step_sizes=step_sizes)
        return roll(dual_rollout, moved, 0.9, 0.05).squared_distances(made.target)

    assert torch.autograd.gradcheck(distances, tuple(made.leaves().values()))


@pytest.mark.parametrize("rollout", [dual_rollout, bptt_rollout, tesla_rollout])
def test_rows_never_visited_receive_exactly_zero(rollout: Rollout) -> None:
    made = problem(num_rows=40, batch_size=4, num_steps=3)
    unseen = sorted(set(range(40)) - set(made.batches.flatten().tolist()))
    gradients = matching_gradients(rollout, made)
    for name, gradient in gradients.items():
        if name != "step sizes":
            assert len(gradient) == 40
            assert not gradient[unseen].any()
    for name in made.rows:
        assert gradients[f"rows {name}"][made.batches.flatten().unique()].all()


def test_the_diagonal_of_the_similarity_is_inert_in_hopa_and_not_in_pairwise() -> None:
    inert = matching_gradients(dual_rollout, problem(objective=Hopa()))
    alive = matching_gradients(dual_rollout, problem(objective=PairwiseWbce()))
    assert inert["factor diagonal"].abs().max() < 1e-12
    assert alive["factor diagonal"].abs().min() > 1e-4


def test_the_order_of_the_dictionaries_does_not_matter() -> None:
    made = problem()
    shuffled = replace(made, rows={name: made.rows[name] for name in ("m2", "m0", "m1")})
    found, expected = answers(dual_rollout, shuffled), answers(dual_rollout, made)
    assert_close({name: found[name] for name in expected}, expected, EXACT)


def test_float32_is_close_to_float64() -> None:
    """The prototype's figures: 1e-7 to 3e-4 on gradients."""
    made = problem(num_rows=40, batch_size=10, num_steps=16, width=32, widths=(80, 64, 48), step_size=0.05)
    low, high = (matching_gradients(dual_rollout, made.cast(dtype)) for dtype in (torch.float32, torch.float64))
    for name in set(high) - {"factor diagonal"}:
        assert low[name].dtype == torch.float32
        assert relative_error(low[name], high[name]) < 1e-3, name
    scale = high["factor left"].norm()
    assert low["factor diagonal"].norm() < 1e-3 * scale


# Several students at once


def students(num_runs: int, num_steps: int = 6) -> tuple[list[Problem], Problem]:
    """Problems that differ in batches and targets only, and the first of them."""
    first = problem(num_steps=num_steps)
    others = [problem(num_steps=num_steps, seed=100 + run) for run in range(1, num_runs)]
    return [first, *(replace(first, batches=o.batches, factors=o.factors) for o in others)], first


def advance(
    made: list[Problem], state: DualState | None = None, steps: slice = slice(None), *, momentum: float, decay: float
) -> DualState:
    first = made[0]
    outputs = stack({name: first.rows[name] @ matrix.mT for name, matrix in first.start.items()})
    kernel = stack({name: first.rows[name] @ first.rows[name].mT for name in first.start})
    return dual_steps(
        first.objective,
        outputs,
        kernel,
        torch.stack([one.targets[steps] for one in made]),
        torch.stack([one.batches[steps] for one in made]),
        first.step_sizes,
        state or DualState.initial(len(made), outputs, decay),
        momentum=momentum,
        weight_decay=decay,
    )


def parts(state: DualState) -> dict[str, Tensor]:
    found = {
        "coefficients": state.coefficients,
        "velocity": state.velocity,
        "scale": state.scale,
        "scale velocity": state.scale_velocity,
    }
    return {name: x for name, x in found.items() if x is not None}


@pytest.mark.parametrize(("momentum", "decay"), OPTIMISERS)
def test_several_runs_are_each_alone(momentum: float, decay: float) -> None:
    made, first = students(3)
    together = advance(made, momentum=momentum, decay=decay)
    for run, one in enumerate(made):
        alone = roll(dual_rollout, one, momentum, decay)
        whole = DualEndpoint(
            first.start,
            first.rows,
            stack({name: x @ x.mT for name, x in first.rows.items()}),
            together.coefficients[run],
            together.scale,
        )
        assert_close(whole.heads(), alone.heads(), EXACT)
        distances = alone.squared_distances(first.target)
        assert relative_error(whole.squared_distances(first.target), distances) < EXACT


@pytest.mark.parametrize(("momentum", "decay"), OPTIMISERS)
@pytest.mark.parametrize("cuts", [(3,), (1, 2, 5)])
def test_steps_in_pieces_are_the_steps_at_once(momentum: float, decay: float, cuts: tuple[int, ...]) -> None:
    made, first = students(2)
    state = None
    for begin, end in zip((0, *cuts), (*cuts, 6), strict=True):
        state = advance(made, state, slice(begin, end), momentum=momentum, decay=decay)
    assert state is not None
    whole = advance(made, momentum=momentum, decay=decay)
    assert_close(parts(state), parts(whole), EXACT)
    rows = list(first.rows.values())
    in_pieces, at_once = (torch.autograd.grad(s.coefficients.square().sum(), rows) for s in (state, whole))
    for found, expected in zip(in_pieces, at_once, strict=True):
        assert relative_error(found, expected) < EXACT


@pytest.mark.parametrize("per_step", [False, True])
def test_the_gradient_for_momentum_and_weight_decay_is_exact(per_step: bool) -> None:
    made = problem(per_step=per_step)

    def distances(momentum: Tensor, weight_decay: Tensor, rollout: Rollout = dual_rollout) -> Tensor:
        return roll(rollout, made, momentum, weight_decay).squared_distances(made.target)

    values = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (0.7, 0.03)]
    assert torch.autograd.gradcheck(distances, values)
    found = torch.autograd.grad(distances(*values).sum(), values)
    expected = torch.autograd.grad(distances(*values, bptt_rollout).sum(), values)
    for one, other in zip(found, expected, strict=True):
        assert abs(float(other)) > 1e-6
        torch.testing.assert_close(one, other, rtol=1e-9, atol=0)
