"""Workloads to time: one outer iteration in several forms, expert training, evaluation and retrieval, and for each the
matrix products that it cannot avoid.

Shapes: M modalities, N synthetic rows, T student steps, b mini-batch, p_m feature width, d embedding width, E experts,
R students.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from measuring import CPU, Case
from omnidistill.data.featureset import FeatureSet
from omnidistill.data.preprocessing import Preprocessing
from omnidistill.evaluation.retrieval import rank
from omnidistill.models.heads import Heads, random_heads
from omnidistill.models.objectives import Hopa, InfoNCE, Objective, PairwiseWbce
from omnidistill.models.similarities import LowRank
from omnidistill.training.experts.epochs import stack_runs, train_epochs
from omnidistill.training.rollout import Rollout, Target, bptt_rollout, dual_rollout, tesla_rollout
from omnidistill.training.rollout.students import draw_batches, train_students

OBJECTIVES: dict[str, Objective] = {"HoPA": Hopa(), "pairwise wBCE": PairwiseWbce(), "InfoNCE": InfoNCE()}
WIDTHS = (1280, 1024, 768, 768, 512, 384)  # p_m for ImageBind's heads; the first three are vision, text and audio
WIDTH = 1024  # d
BATCH, STEPS = 25, 16
RECALL_WIDTH = 256


@dataclass(frozen=True)
class Problem:
    """One outer iteration: a student's initial heads, an expert's final heads, and the tensors that are learned."""

    start: Heads
    target: Target
    rows: dict[str, Tensor]
    similarity: LowRank
    factors: dict[str, Tensor]
    log_step_sizes: Tensor
    batches: Tensor

    @property
    def leaves(self) -> list[Tensor]:
        return [*self.rows.values(), *self.factors.values(), self.log_step_sizes]

    @property
    def num_visited(self) -> int:
        return len(set(self.batches.flatten().tolist()))

    def row_gradient(self) -> Tensor:
        return torch.cat([leaf.grad.flatten() for leaf in self.rows.values() if leaf.grad is not None])


def problem(
    num_rows: int,
    *,
    num_steps: int = STEPS,
    widths: tuple[int, ...] = WIDTHS[:3],
    width: int = WIDTH,
    batch_size: int = BATCH,
    num_views: int = 1,
    device: torch.device = CPU,
) -> Problem:
    """Return random weights and rows; the similarity of all views is diag(a) + L R^T of rank 10, as in the paper."""
    generator = torch.Generator().manual_seed(0)
    named = {f"m{m}": p for m, p in enumerate(widths)}
    start = random_heads(named, width, generator)
    moved = random_heads(named, width, generator)
    goal = {name: matrix + 0.01 * moved[name] for name, matrix in start.items()}
    shared = torch.randn(num_rows, max(WIDTHS), generator=generator)
    rows = {name: shared[:, :p] + torch.randn(num_rows, p, generator=generator) for name, p in named.items()}
    similarity = LowRank(rank=10, alpha=1.0)
    factors = similarity.init(num_rows * num_views, generator)
    sizes = torch.full((len(widths),), -2.0)
    batches = draw_batches(num_rows * num_views, batch_size, num_steps, generator)
    start, goal, rows, factors = (moved_to(device, each) for each in (start, goal, rows, factors))
    target = Target.between(start, goal)
    made = Problem(start, target, rows, similarity, factors, sizes.to(device), batches.to(device))
    for leaf in made.leaves:
        leaf.requires_grad_()
    return made


def moved_to(device: torch.device, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors on a device, by name."""
    return {name: tensor.to(device) for name, tensor in tensors.items()}


def iteration(rollout: Rollout, objective: Objective, made: Problem) -> Tensor:
    """Run forward pass, matching loss and backward pass with a rollout from the library."""
    for leaf in made.leaves:
        leaf.grad = None
    targets = made.similarity.targets(made.factors, made.batches)
    endpoint = rollout(objective, made.start, made.rows, targets, made.batches, made.log_step_sizes.exp())
    loss = (endpoint.squared_distances(made.target) / made.target.squared_norms).sum()
    torch.autograd.backward(loss)
    return loss.detach()


def textbook_tesla(objective: Objective, made: Problem) -> Tensor:
    """Run TESLA in the way of published code, which works for any head.

    Autograd computes the student's gradients from its loss. In pass 2, they are differentiated a second time, one step
    at a time. Nothing is stored, copied or computed unnecessarily.
    """
    for leaf in made.leaves:
        leaf.grad = None
    names = list(made.start)
    targets = made.similarity.targets(made.factors, made.batches)
    sizes = made.log_step_sizes.exp()
    beta = sizes.detach()

    heads, path = [made.start[name] for name in names], []
    totals = [torch.zeros_like(matrix) for matrix in heads]
    for t, batch in enumerate(made.batches):
        path.append(heads)
        leaves = [matrix.detach().requires_grad_() for matrix in heads]
        inputs = [made.rows[name].detach()[batch] for name in names]
        gradients = torch.autograd.grad(_student_loss(objective, leaves, inputs, targets[t].detach()), leaves)
        totals = [total.add_(gradient) for total, gradient in zip(totals, gradients, strict=True)]
        heads = [torch.sub(h, g, alpha=float(s)) for h, g, s in zip(heads, gradients, beta, strict=True)]

    gaps = [made.target.difference[name] - s * total for name, s, total in zip(names, beta, totals, strict=True)]
    norms = made.target.squared_norms
    loss = (torch.stack([gap.square().sum() for gap in gaps]) / norms).sum()
    cotangents = [2 / norm * gap for gap, norm in zip(gaps, norms, strict=True)]

    grad_rows = [torch.zeros_like(made.rows[name]) for name in names]
    grad_targets = torch.zeros_like(targets)
    for t, batch in enumerate(made.batches):
        leaves = [matrix.detach().requires_grad_() for matrix in path[t]]
        inputs = [made.rows[name].detach()[batch].requires_grad_() for name in names]
        wanted = targets[t].detach().requires_grad_()
        value = _student_loss(objective, leaves, inputs, wanted)
        gradients = torch.autograd.grad(value, leaves, create_graph=True)
        inner = sum(-s * (c * g).sum() for s, c, g in zip(beta, cotangents, gradients, strict=True))
        *by_input, grad_targets[t] = torch.autograd.grad(inner, [*inputs, wanted])
        for total, gradient in zip(grad_rows, by_input, strict=True):
            total.index_add_(0, batch, gradient)
    grad_sizes = -torch.stack([(c * total).sum() for c, total in zip(cotangents, totals, strict=True)])
    torch.autograd.backward([targets, sizes], [grad_targets, grad_sizes])
    for name, gradient in zip(names, grad_rows, strict=True):
        made.rows[name].grad = gradient
    return loss


def big_products(made: Problem) -> list[Tensor]:
    """Compute X W_0^T and X D^T over the rows that the batches visit, and multiply the results by W_0 and D."""
    results = []
    for name, rows in made.rows.items():
        visited = rows.detach()[: made.num_visited]
        for matrix in (made.start[name], made.target.difference[name]):
            results.append((visited @ matrix.mT) @ matrix)
    return results


def big_product_flops(made: Problem) -> float:
    return 8.0 * made.num_visited * sum(matrix.numel() for matrix in made.start.values())


def iteration_cases(objective: Objective, made: Problem) -> dict[str, Case]:
    """Return all forms of one outer iteration, by name."""
    return {
        "limit": lambda: big_products(made),
        "dual": lambda: iteration(dual_rollout, objective, made),
        "TESLA": lambda: iteration(tesla_rollout, objective, made),
        "TESLA, textbook": lambda: textbook_tesla(objective, made),
        "BPTT": lambda: iteration(bptt_rollout, objective, made),
    }


def expert_cases(
    num_experts: int, num_steps: int, batch_size: int = 128, device: torch.device = CPU
) -> dict[str, Case]:
    """Return cases that train E stacked experts for `num_steps` steps: one per objective, and only matrix products."""
    generator = torch.Generator().manual_seed(0)
    num_rows = num_steps * batch_size
    widths = {f"m{m}": p for m, p in enumerate(WIDTHS[:3])}
    features = {name: torch.randn(num_rows, p, generator=generator) for name, p in widths.items()}
    ids = tuple(map(str, range(num_rows)))
    features = moved_to(device, features)
    data = FeatureSet(features, ids, ids, ("train",) * num_rows, None, Preprocessing(False, 0.0, {}), {})
    heads = stack_runs(moved_to(device, random_heads(widths, WIDTH, generator)), num_experts)
    rates = torch.full((num_experts,), 0.01, device=device)
    inputs = {name: x[:batch_size].repeat(num_experts, 1, 1) for name, x in features.items()}

    def train(objective: Objective) -> None:
        for _ in train_epochs(
            objective, heads, data, rates, batch_size=batch_size, num_epochs=1, seed=0, purpose="bench"
        ):
            pass

    def products() -> None:
        for _ in range(num_steps):
            for name, matrix in heads.items():
                outputs = inputs[name] @ matrix.mT
                matrix.baddbmm_(outputs.mT, inputs[name], alpha=-1e-9)

    return {
        "limit": products,
        "HoPA": lambda: train(OBJECTIVES["HoPA"]),
        "InfoNCE": lambda: train(OBJECTIVES["InfoNCE"]),
    }


def evaluation_cases(
    objective: Objective, num_students: int, num_steps: int, num_rows: int, device: torch.device = CPU
) -> dict[str, Callable[[], Tensor]]:
    """Return cases that train students on a set, in dual form and as a stack of heads in parameter space.

    Both cases return the updates of the first modality's heads (R x d x p).
    """
    made = problem(num_rows, device=device)
    rows = {name: x.detach() for name, x in made.rows.items()}
    factors = {name: x.detach() for name, x in made.factors.items()}
    sizes = made.log_step_sizes.detach().exp()
    first = next(iter(rows))

    def generators() -> list[torch.Generator]:
        return [torch.Generator().manual_seed(run) for run in range(num_students)]

    def dual() -> Tensor:
        trained = train_students(
            objective,
            made.start,
            rows,
            lambda batches: made.similarity.targets(factors, batches),
            sizes,
            batch_size=BATCH,
            checkpoints=[num_steps],
            generators=generators(),
        )
        return next(trained)[1][first] - made.start[first]

    def parameters() -> Tensor:
        heads = stack_runs(made.start, num_students)
        drawn = [draw_batches(num_rows, BATCH, num_steps, stream) for stream in generators()]
        batches = torch.stack(drawn).to(device)
        for t in range(num_steps):
            batch = batches[:, t]
            inputs = {name: x[batch] for name, x in rows.items()}
            outputs = torch.stack([inputs[name] @ matrix.mT for name, matrix in heads.items()], dim=1)
            deltas = sizes[:, None, None] * objective.gradient(outputs, made.similarity.targets(factors, batch))
            for m, (name, matrix) in enumerate(heads.items()):
                matrix.baddbmm_(deltas[:, m].mT, inputs[name], alpha=-1)
        return heads[first] - made.start[first]

    return {"dual": dual, "parameters": parameters}


def recall_cases(num_items: int, width: int = RECALL_WIDTH, device: torch.device = CPU) -> dict[str, Case]:
    """Return cases for ranking `num_items` queries among as many items: exact ranks, and only the product in chunks."""
    generator = torch.Generator().manual_seed(0)
    gallery = torch.nn.functional.normalize(torch.randn(num_items, width, generator=generator), dim=-1)
    query = (gallery + 0.05 * torch.randn(num_items, width, generator=generator)).to(device)
    gallery = gallery.to(device)
    groups = torch.arange(num_items)
    chunk = max(1, 2**26 // (4 * num_items))

    def product() -> None:
        scores = torch.empty(min(chunk, num_items), num_items, device=device)
        for first in range(0, num_items, chunk):
            part = query[first : first + chunk]
            torch.mm(part, gallery.T, out=scores[: len(part)])

    return {
        "limit": product,
        "ranks": lambda: rank(query, gallery, groups, groups, all_positives=False),
        "metrics": lambda: rank(query, gallery, groups, groups),
    }


def relative_difference(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def _student_loss(objective: Objective, heads: list[Tensor], inputs: list[Tensor], targets: Tensor) -> Tensor:
    outputs = torch.stack([x @ matrix.mT for x, matrix in zip(inputs, heads, strict=True)])
    return objective.value(outputs, targets).sum()
