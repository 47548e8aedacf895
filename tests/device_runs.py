"""Small runs of everything that computes, on any device: `RUNS` names functions of a device and a folder.

Each returns the numbers that the run gives, on the CPU, so that the runs of two devices can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor

from method_problems import task_of, tiny
from migration_problems import FEW
from migration_problems import planted as planted_embeddings
from omnidistill.core.device import moved
from omnidistill.core.engines import Engine, LocalEngine
from omnidistill.core.streams import Streams
from omnidistill.data.embedding_pairs import Pairs
from omnidistill.data.featureset import Development, FeatureSet
from omnidistill.data.fingerprint import fingerprint
from omnidistill.data.store import load_features, save_features
from omnidistill.distillation import DistilledSet, distill
from omnidistill.distillation.learnable import Learnable, random_rows
from omnidistill.distillation.learner import Learner
from omnidistill.distillation.outer import Material
from omnidistill.evaluation.baselines import Allowance, Setting, baselines
from omnidistill.evaluation.baselines.direct_heads import DirectHeads
from omnidistill.evaluation.baselines.low_rank_heads import LowRank
from omnidistill.evaluation.baselines.random_real_rows import RandomRows
from omnidistill.evaluation.baselines.stacked import Stacked
from omnidistill.evaluation.distilled_row import train_on_sets
from omnidistill.evaluation.migration_baselines import AllPairs, MapProblem, low_rank_maps, random_pairs
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.evaluation.scores import rank_runs, score_rows
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.evaluation.validation import validation_score
from omnidistill.experiments.config import RunConfig
from omnidistill.experiments.migration.kit import kit_of
from omnidistill.experiments.migration.learn_kit import frame_of, learn_rows, learning_settings
from omnidistill.methods import Task
from omnidistill.methods.selectors.selector import selectors
from omnidistill.models.heads import Heads, random_heads
from omnidistill.models.objectives import Hopa
from omnidistill.training.experts import ExpertBuffer, HeadsConfig, Start, pretrain_heads, train_experts
from omnidistill.training.rollout.students import draw_batches
from small_runs import InterruptAfter, Loop, features, learn_settings, small_config, small_heads

Run = Callable[[torch.device, Path], dict[str, Tensor]]
"""Function of a device and an empty folder that returns the numbers of the run."""

LEARNED = (
    "hopa",
    "hopa distill.outer.task_weight=0.5",
    "hopa distill.rollout=bptt",
    "hopa distill.rollout=tesla",
    "recommended",
    "task distill.storage.bits=4 distill.storage.views=2",
    "hopa distill.storage.bits=16 distill.average=0.5",
    "shortcut",
    "lors-full",
    "lors-diagonal",
    "repblend",
    "tesla",
)
"""Presets of learned sets, with overrides, that differ in their parts."""
UNJUDGED = "distill.validate_every=0"
"""Most of the time of a simulated run goes into validation scores, which do not depend on how a set is learned."""
COMPUTED = ("covmatch", "covmatch distill.rotation=random", "covmatch-errors", "apm", "apm distill.norm=plain")
SELECTED = tuple(f"random distill.selector.kind={name}" for name in selectors.names())
SCORED = ("zero-shot", "full", "cca", "random", "equal-bytes", "distilled")
"""Rows of an evaluation that are scored: heads with one run and with several, with a bias and without."""
EVALUATE = EvaluateConfig(num_seeds=2, max_epochs=2, learning_rates=(0.5,), batch_size=24)


@cache
def data() -> FeatureSet:
    """The planted set, on the CPU."""
    return features()


def parts(device: torch.device) -> tuple[Development, Heads]:
    """The development splits and initial heads, on a device."""
    return data().development().to(device), moved(small_heads(data()), device)


def draws(device: torch.device, folder: Path) -> dict[str, Tensor]:
    """What is drawn for a learned set: initial rows, similarity and mini-batches."""
    development, _ = parts(device)
    settings, streams = learn_settings(tiny("lors")), Streams(0)
    rows = random_rows(development.train, settings.num_stored, streams["initial rows"])
    learnable = Learnable.initial(rows, settings, settings.resolved_storage, streams)
    require_device(learnable.tensors(), device)
    batches = draw_batches(settings.num_rows, settings.batch, 4, streams["batches"])
    return {**moved({name: leaf.detach() for name, leaf in learnable.tensors().items()}, "cpu"), "batches": batches}


def pretrained_heads(device: torch.device, folder: Path) -> dict[str, Tensor]:
    """Heads pre-trained on the `heads` split."""
    development = data().to(device).development()
    config = HeadsConfig(width=8, num_epochs=2, batch_size=16)
    heads, _ = pretrain_heads(
        development, config, lambda heads: validation_score(heads, development.validation), seed=0
    )
    require_device(heads, device)
    return moved(heads, "cpu")


def experts_of(config: RunConfig, device: torch.device, folder: Path, engine: Engine | None = None) -> ExpertBuffer:
    """Experts from the initial heads and, where the settings say so, others, trained on a device."""
    development, heads = parts(device)
    settings = config.experts
    drawn = [random_heads(data().widths, 8, torch.Generator().manual_seed(n)) for n in range(1, settings.num_starts)]
    starts = [Start(each, settings.learning_rate or 1.0, settings.num_epochs or 3) for each in (heads, *drawn)]
    starts = [replace(start, heads=moved(start.heads, device)) for start in starts]
    span = config.distill.expert_span
    return train_experts(starts, development.train, settings, folder, seed=0, spectrum_epochs=span, engine=engine)


def experts(engine: Engine, device: torch.device, folder: Path) -> dict[str, Tensor]:
    """Expert trajectories from two initial heads."""
    buffer = experts_of(tiny("hopa", "experts.num_starts=2"), device, folder, engine)
    heads = buffer.heads(1, buffer.num_epochs)
    return {**heads, "squared distances": buffer.squared_distances}


class Blocks(LocalEngine):
    """Trains experts in blocks, as in several processes."""

    here = False


def method(preset: str, device: torch.device, folder: Path) -> dict[str, Tensor]:
    """A set by the method of a preset with overrides, and heads trained on it."""
    config = tiny(*preset.split())
    distilled = config.distill.run(task_on(device, folder, config)).distilled
    return numbers_of(distilled, device)


def task_on(device: torch.device, folder: Path, config: RunConfig) -> Task:
    """The task of a run whose data and heads are on a device."""
    development, start = parts(device)
    task = replace(task_of(folder, config, data()), development=development, start=start)
    return replace(task, experts=cache(partial(experts_of, config, device, folder / "experts")))


def numbers_of(distilled: DistilledSet, device: torch.device) -> dict[str, Tensor]:
    """The rows of a set, its recipe, and heads that are trained on it; all tensors of the set must be on the CPU."""
    require_device(distilled.tensors, torch.device("cpu"))
    _, start = parts(device)
    trained = distilled.train(start)
    require_device(trained, device)
    return {
        **{f"rows/{name}": x.detach() for name, x in distilled.rows().items()},
        **{f"trained/{name}": x for name, x in moved(trained, "cpu").items()},
        "similarity": distilled.similarity().detach(),
        "step sizes": torch.tensor(getattr(distilled.recipe, "step_sizes", ())),
    }


def resumed(device: torch.device, folder: Path) -> dict[str, Tensor]:
    """A run that is interrupted twice, and continues from its checkpoint on the device."""
    config = small_config("distill.optimiser.kind=adam", "distill.average=0.5")
    development, start = parts(device)
    loop = Loop(data(), start, experts_of(config, device, folder / "experts"))
    outer = replace(loop.outer(config), device=device)

    for _ in range(3):
        try:
            result = distill(
                development.train,
                outer,
                8,
                learn_settings(config),
                folder / "run",
                seed=0,
                validate=lambda distilled: Loop(data().to(device), start, loop.buffer).validate(distilled),
                resume=True,
                progress=InterruptAfter(2, 4),
            )
        except KeyboardInterrupt:
            continue
    return numbers_of(result.distilled, device)


def restarted(device: torch.device, folder: Path) -> dict[str, Tensor]:
    """An outer loop that restarts from the last finite set."""
    config = tiny("task", "distill.similarity.kind=low-rank", "distill.similarity.rank=2")
    development, start = parts(device)
    settings = learn_settings(config)
    outer = settings.outer.bind(Material(development.train, start, settings.iterations, None))
    learner = Learner(development.train, outer, 8, settings, Streams(0))
    for iteration in range(3):
        learner.iterate(iteration)
        if iteration == 1:
            learner.restart_from(learner.last_good)
    return moved({name: leaf.detach() for name, leaf in learner.learnable.state().items()}, "cpu")


def continued(device: torch.device, folder: Path) -> dict[str, Tensor]:
    """A set that continues from a stored one with a few bits per number."""
    config = tiny("task", "distill.storage.bits=4", UNJUDGED)
    first = config.distill.run(task_on(device, folder / "first", config)).distilled
    first.save(folder / "stored")
    task = replace(task_on(device, folder / "second", config), initial_set=DistilledSet.load(folder / "stored"))
    return numbers_of(config.distill.run(task).distilled, device)


def evaluation(device: torch.device, folder: Path) -> dict[str, Tensor]:
    """All baselines and a set; some of them are scored on the test split."""
    development, start = parts(device)
    test = data().split("test").to(device)
    allowance = Allowance(rows=5, bytes=5000)
    rows: dict[str, TrainedHeads] = {}
    for name in sorted(baselines.names(), key=lambda name: len(baselines.get(name).needs)):
        (baseline,) = baselines.build(name).for_students([Hopa()], EVALUATE)
        if isinstance(baseline, RandomRows):
            baseline = baseline.evolve(max_steps=16)
        if isinstance(baseline, DirectHeads):
            baseline = baseline.evolve(iterations=2, cca_ridges=(0.3,))
        if "ridges" in type(baseline).model_fields:
            baseline = baseline.evolve(ridges=(0.3,) if isinstance(baseline, DirectHeads) else (0.1, 1.0))
        if isinstance(baseline, Stacked):
            baseline = baseline.evolve(weights=(0.3, 0.6))
        if isinstance(baseline, LowRank):
            baseline = baseline.evolve(learning_rates=(0.003, 0.01))
        fitted = {needed: rows[needed] for needed in baseline.needs}
        rows[name] = baseline.fit(Setting(development, start, EVALUATE, 0, allowance, fitted))
        require_device(rows[name].heads, device)
    config = tiny("random")
    distilled = config.distill.run(task_on(device, folder, config)).distilled
    rows["distilled"] = train_on_sets([distilled], start, EVALUATE, 0)
    scores = score_rows({name.replace("-", "_"): rows[name] for name in SCORED}, test)
    ranks = {
        f"{name}/ranks": torch.stack(
            [torch.stack([each.ranks() for each in run.values()]) for run in rank_runs(row, test)]
        )
        for name, row in rows.items()
        if name in SCORED
    }
    heads = {f"{name}/{m}": x for name, row in rows.items() for m, x in moved(row.heads, "cpu").items()}
    return {
        **heads,
        **ranks,
        "recall": torch.tensor([row.recall["mean"]["R@1"].mean for row in scores.values()]),
    }


def packing(device: torch.device, folder: Path) -> dict[str, Tensor]:
    """Select, split, save, load and fingerprint a set on the device."""
    whole = data().to(device)
    save_features(whole, folder / "set")
    loaded = load_features(folder / "set")
    some = whole.split("train").select([5, 1, 3]).only(["a", "b"])
    assert fingerprint(loaded) == fingerprint(data()) == fingerprint(whole)
    assert fingerprint(some) == fingerprint(some.to("cpu"))
    return {**moved(some.features, "cpu"), "codes": some.group_codes.cpu()}


def require_device(tensors: Mapping[str, Tensor], device: torch.device) -> None:
    """Check where a result is."""
    assert {tensor.device.type for tensor in tensors.values()} == {device.type}


def migration(device: torch.device, folder: Path) -> dict[str, Tensor]:
    """A migration kit and all maps to compare it with."""
    old, new = (torch.from_numpy(x) for x in planted_embeddings(160))
    train, held = Pairs(old[:120], new[:120]).to(device), Pairs(old[120:], new[120:]).to(device)
    means, frame = frame_of(train)
    problem = MapProblem(train, held, frame, 0)
    learned, score = learn_rows(problem, 8, FEW, lambda value: None)
    require_device(learned.latent, device)
    kit, fitted = kit_of(learned, means), AllPairs(problem)
    low_rank = low_rank_maps(fitted, {"coded": FEW.storage}, 4000, {}, learning_settings(FEW), lambda: None)
    candidates = [fitted.ridge(), fitted.procrustes(), random_pairs(problem, 8), *low_rank]
    scores = {each.name: torch.tensor([problem.score(maps) for maps in each.draws]) for each in candidates}
    mapped = kit.apply(old)
    assert isinstance(mapped, Tensor)
    return {"mapped": mapped, "score": torch.tensor(score), **scores}


RUNS: dict[str, Run] = {
    "packing": packing,
    "draws": draws,
    "heads": pretrained_heads,
    "experts": partial(experts, LocalEngine()),
    "experts, blocks of runs": partial(experts, Blocks()),
    **{preset: partial(method, preset) for preset in (LEARNED[0], *COMPUTED, *SELECTED)},
    **{preset: partial(method, f"{preset} {UNJUDGED}") for preset in LEARNED[1:]},  # the first is judged for all
    "resumed": resumed,
    "restarted": restarted,
    "continued": continued,
    "evaluation": evaluation,
    "migration": migration,
}
"""All runs by name."""
