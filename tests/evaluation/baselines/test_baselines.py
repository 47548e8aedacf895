"""Baselines: what each one trains, compared with plain computations; and the contract that all of them keep."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Sequence
from typing import Any, get_type_hints

import pytest
import torch

from omnidistill.data.featureset import Development, FeatureSet
from omnidistill.distillation.shipped_bytes import real_rows_bytes
from omnidistill.evaluation.baselines import (
    DEFAULT,
    REQUIRED,
    Allowance,
    Baseline,
    Setting,
    baselines,
    default_baselines,
)
from omnidistill.evaluation.baselines import (
    random_real_rows as random_rows,
)
from omnidistill.evaluation.baselines.all_rows import AllRows, AllRowsOwn
from omnidistill.evaluation.baselines.baseline import STACKED
from omnidistill.evaluation.baselines.direct_heads import DirectHeads
from omnidistill.evaluation.baselines.low_rank_heads import LowRank
from omnidistill.evaluation.baselines.random_real_rows import RandomRows
from omnidistill.evaluation.baselines.ridge_cca import RidgeCca
from omnidistill.evaluation.baselines.zero_shot import ZeroShot
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.evaluation.validation import doubling_steps, run_of, validation_score
from omnidistill.models.heads import Heads
from omnidistill.models.objectives import Hopa, InfoNCE, Objective, PairwiseWbce
from omnidistill.training.experts.epochs import stack_runs, train_epochs
from plugins import installed
from small_runs import features, small_heads

CONFIG = EvaluateConfig(num_seeds=3, max_epochs=4, learning_rates=(0.05, 0.5, 2.0), batch_size=24)
NAMES = baselines.names()
FEW = {"learning_rates": (0.01,), "cca_ridges": (0.3,), "iterations": 4, "validate_every": 2}
"""Settings with which heads are learned directly in a moment."""
NEEDED = sorted({need for name in NAMES for need in baselines.get(name).needs} - {"full"}, key=NAMES.index)
RIVALS = tuple(name for name in STACKED if name != "cca")
"""Baselines that follow those of the default table; each is also stacked."""


@pytest.fixture(scope="module")
def start() -> Heads:
    return small_heads(features())


@pytest.fixture(scope="module")
def full(start: Heads) -> TrainedHeads:
    return AllRows().fit(setting(start))


@pytest.fixture(scope="module")
def fitted(start: Heads, full: TrainedHeads) -> dict[str, TrainedHeads]:
    """The baselines from which others are computed."""
    return fit_needed(setting(start), {"full": full})


def fit_needed(
    here: Setting, results: dict[str, TrainedHeads], names: Sequence[str] = NEEDED
) -> dict[str, TrainedHeads]:
    """Fit the baselines from which others are computed, except those that do not apply, and return all results."""
    for name in (name for name in names if built(name).applies(here)):
        results[name] = built(name).fit(dataclasses.replace(here, fitted=dict(results)))
    return results


def setting(
    start: Heads, data: Development | None = None, config: EvaluateConfig = CONFIG, seed: int = 0, **settings: Any
) -> Setting:
    """Return small planted data, and an allowance of five rows and of about rank 6 in 32 bits with its files."""
    rank_bytes = 4 * sum(sum(matrix.shape) for matrix in start.values())
    allowance = Allowance(rows=5, bytes=6 * rank_bytes + 1800)
    return Setting(data or features().development(), start, config, seed, allowance, **settings)


# the contract


def built(name: str) -> Baseline:
    """Return the baseline as a table of one HoPA set has it."""
    (baseline,) = baselines.build(name).for_students([Hopa()], CONFIG)
    return baseline.evolve(**FEW) if isinstance(baseline, DirectHeads) else baseline


def test_every_baseline_is_registered_and_the_default_table_has_the_cheap_ones() -> None:
    assert [baseline.kind for baseline in default_baselines()] == list(DEFAULT) == list(NAMES[: len(DEFAULT)])
    assert {*NAMES[len(DEFAULT) :]} == {*RIVALS, *(f"{name}-stacked" for name in RIVALS)}
    assert set(REQUIRED) <= set(NAMES)
    for name in NAMES:
        assert set(baselines.get(name).needs) <= set(NAMES)
        assert all(baselines.get(needed).stores_heads for needed in baselines.get(name).needs)


@pytest.mark.parametrize("name", NAMES)
def test_every_baseline_keeps_its_contract(name: str, start: Heads, fitted: dict[str, TrainedHeads]) -> None:
    """Finite heads of every modality, facts that JSON can hold, nothing changed, and equal bits the second time."""
    baseline, here = built(name), setting(start, fitted=fitted)
    state = torch.get_rng_state()
    before = {modality: matrix.clone() for modality, matrix in start.items()}
    rows = {modality: x.clone() for modality, x in here.data.train.features.items()}
    assert baseline.applies(here)
    result, again = baseline.fit(here), baseline.fit(here)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(start[modality], matrix) for modality, matrix in before.items())
    assert all(torch.equal(here.data.train.features[modality], x) for modality, x in rows.items())
    assert result.num_runs in (1, CONFIG.num_seeds)
    assert result.heads.keys() == start.keys()
    for modality, matrix in result.heads.items():
        assert matrix.shape[::2] == (result.num_runs, start[modality].shape[1])
        assert bool(matrix.isfinite().all())
        assert torch.equal(matrix, again.heads[modality])
    assert result.label == again.label != ""
    assert result.bytes == again.bytes >= 0
    assert result.seconds >= 0
    assert json.loads(json.dumps(dict(result.settings))) == again.settings
    assert result.num_evaluated == again.num_evaluated >= 0
    assert baseline.needs_start == (name not in ("cca", *RIVALS))


@pytest.mark.parametrize(
    "name", ["random", "low-rank", "full", "full-own", "cca-infonce", "random-anchor", "group-means-anchor"]
)
def test_another_seed_gives_other_runs(name: str, start: Heads, fitted: dict[str, TrainedHeads]) -> None:
    one, other = (built(name).fit(setting(start, seed=seed, fitted=fitted)) for seed in (0, 1))
    assert not torch.equal(one.heads["a"], other.heads["a"])
    assert not torch.equal(one.heads["a"][0], one.heads["a"][1])


def test_a_sized_baseline_depends_on_the_allowance_and_no_other_one_does(
    start: Heads, fitted: dict[str, TrainedHeads]
) -> None:
    here = setting(start, fitted=fitted)
    smaller = dataclasses.replace(here, allowance=Allowance(rows=2, bytes=1450))
    sized = [name for name in NEEDED if baselines.get(name).sized]
    smaller = dataclasses.replace(smaller, fitted=fit_needed(smaller, dict(fitted), sized))
    for name in NAMES:
        if not built(name).applies(smaller):
            assert baselines.get(name).uses_bytes
            continue
        one, other = built(name).fit(here), built(name).fit(smaller)
        assert (one.bytes != other.bytes) == baselines.get(name).sized, name
        if not built(name).sized:
            assert built(name).fit(dataclasses.replace(here, allowance=None)).settings == one.settings


def test_a_package_can_add_a_baseline() -> None:
    class Mean(Baseline):
        """Heads that map every row to its mean."""

        def fit(self, setting: Setting) -> TrainedHeads:
            return TrainedHeads("mean", (stack_runs(setting.start, 1),), 0, 0.0, {})

    with installed(baselines):
        baselines.register("mean")(Mean)
        assert baselines.names() == (*NAMES, "mean")
        assert baselines.build("mean").name == "mean"


def test_a_baseline_cannot_see_the_test_split() -> None:
    """By type: a baseline is fitted to a `Development`, which has no test rows."""
    assert {field.name for field in dataclasses.fields(Development)} == {"heads", "train", "validation"}
    types = get_type_hints(Setting)
    assert types["data"] is Development
    assert FeatureSet not in types.values()
    for name in NAMES:
        assert list(inspect.signature(baselines.get(name).fit).parameters) == ["self", "setting"]


def other_validation(data: Development, seed: int) -> Development:
    """Replace the validation rows by noise."""
    generator = torch.Generator().manual_seed(seed)
    noise = {name: torch.randn(x.shape, generator=generator) for name, x in data.validation.features.items()}
    return dataclasses.replace(data, validation=dataclasses.replace(data.validation, features=noise))


@pytest.mark.parametrize("baseline", [AllRows(), LowRank(), RandomRows(max_steps=64), RidgeCca()], ids=str)
def test_choices_follow_validation(baseline: Baseline, start: Heads) -> None:
    """Other validation rows change what is chosen, and they change the heads only through the choice."""
    data = features().development()
    results = [
        baseline.fit(setting(start, each)) for each in (data, *(other_validation(data, seed) for seed in (1, 2, 3)))
    ]
    chosen = [result.settings for result in results]
    assert any(settings != chosen[0] for settings in chosen)
    for result in results:
        same = all(torch.equal(result.heads[name], results[0].heads[name]) for name in start)
        assert same == (result.settings == chosen[0])


# the initial heads


def test_zero_shot_is_the_start(start: Heads) -> None:
    result = ZeroShot().fit(setting(start))
    assert all(torch.equal(result.heads[name], start[name][None]) for name in start)
    assert result.bytes == 0


# all rows


def test_all_rows_are_trained_on_with_what_validates_best(full: TrainedHeads, start: Heads) -> None:
    """Every step size and epoch is tried again here; then fresh runs take the best."""
    data = features().development()
    scores = {}
    for rate in CONFIG.learning_rates:
        heads = stack_runs(start, 1)
        for epoch in train_epochs(
            InfoNCE(),
            heads,
            data.train,
            torch.tensor([rate]),
            batch_size=24,
            num_epochs=4,
            seed=0,
            purpose="full/tune",
        ):
            scores[rate, epoch] = validation_score(run_of(heads, 0), data.validation)
    chosen = full.settings["learning_rate"], full.settings["num_epochs"]
    assert scores[chosen] == max(scores.values())
    assert len(set(scores.values())) > 3
    heads = stack_runs(start, 3)
    rates = torch.full((3,), chosen[0])
    for _ in train_epochs(
        InfoNCE(), heads, data.train, rates, batch_size=24, num_epochs=chosen[1], seed=0, purpose="full"
    ):
        pass
    assert all(torch.equal(heads[name], full.heads[name]) for name in heads)
    assert not torch.equal(full.heads["a"][0], full.heads["a"][1])
    assert full.bytes == 4 * 64 * sum(data.train.widths.values())


def test_a_step_size_that_diverges_is_not_chosen(start: Heads) -> None:
    config = CONFIG.evolve(learning_rates=(3e29, 0.5))
    result = AllRows().fit(setting(start, config=config))
    assert result.settings["learning_rate"] == 0.5
    assert all(bool(torch.isfinite(matrix).all()) for matrix in result.heads.values())


def test_the_students_own_objective_is_minimised(start: Heads) -> None:
    """With the InfoNCE of the protocol, the heads would be those of "full"; the label names the objective."""
    here = setting(start)
    same, other = AllRowsOwn(objective=InfoNCE()).fit(here), AllRowsOwn(objective=Hopa(tau_ins=0.3)).fit(here)
    assert all(torch.equal(same.heads[name], matrix) for name, matrix in AllRows().fit(here).heads.items())
    assert not torch.equal(other.heads["a"], same.heads["a"])
    assert other.label == "all rows, HoPA (tau_ins 0.3)"


def test_every_other_student_objective_has_its_own_row() -> None:
    """Each distinct objective once, in order; the InfoNCE of the protocol is "full" already."""
    students: list[Objective] = [
        Hopa(),
        InfoNCE(tau=CONFIG.tau),
        PairwiseWbce(),
        Hopa(),
        InfoNCE(tau=0.2),
        PairwiseWbce(anchor="a"),
    ]
    expanded = AllRowsOwn().for_students(students, CONFIG)
    assert expanded == tuple(AllRowsOwn(objective=students[index]) for index in (0, 2, 4, 5))
    names = [baseline.name for baseline in expanded]
    assert len(set(names)) == 4
    assert names[:3] == ["full-hopa", "full-pairwise-wbce", "full-infonce-(tau-0.2)"]
    assert AllRowsOwn().for_students([InfoNCE(tau=CONFIG.tau)], CONFIG) == ()
    assert AllRowsOwn().for_students([InfoNCE()], CONFIG.evolve(tau=0.5)) == (AllRowsOwn(objective=InfoNCE()),)
    (given,) = AllRowsOwn(objective=InfoNCE()).for_students(students, CONFIG)
    assert given == AllRowsOwn(objective=InfoNCE())
    for name in set(NAMES) - {"full-own"}:
        assert baselines.build(name).for_students(students, CONFIG) == (baselines.build(name),)


# random rows


def test_random_rows_are_real_training_rows_and_differ_between_runs(
    start: Heads, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[str, ...]] = []
    pick = random_rows.random_rows

    def remember(*arguments: object) -> object:
        rows = pick(*arguments)  # type: ignore[arg-type]
        drawn.append(rows.ids)
        return rows

    monkeypatch.setattr(random_rows, "random_rows", remember)
    here = dataclasses.replace(setting(start), allowance=Allowance(rows=10, bytes=1))
    result = RandomRows(max_steps=64).fit(here)
    train = here.data.train
    assert all(len(ids) == len(set(ids)) == 10 and set(ids) <= set(train.ids) for ids in drawn)
    runs = drawn[2:]  # after the draws that the choice is made on
    assert len(runs) == 3
    assert len({frozenset(ids) for ids in drawn}) == len(drawn)
    assert all(not torch.equal(result.heads["a"][run], result.heads["a"][0]) for run in (1, 2))
    numbers = 4 * 10 * (sum(train.widths.values()) + 1) + sum(train.widths.values())  # rows, groups and means
    assert numbers < result.bytes == real_rows_bytes(10, train.widths, train.preprocessing) < numbers + 1900
    assert result.settings["step_size"] in CONFIG.learning_rates
    assert result.settings["num_steps"] in doubling_steps(64)
    # the update of each run lies in the span of its rows
    for run, ids in enumerate(runs):
        rows = train.select([train.ids.index(name) for name in ids]).features["c"]
        update = result.heads["c"][run] - start["c"]
        basis = torch.linalg.qr(rows.T)[0]
        assert float((update - update @ basis @ basis.T).norm()) < 1e-3 * float(update.norm())


def test_one_random_row_cannot_be_trained_on(start: Heads) -> None:
    for rows, applies in ((1, False), (2, True)):
        here = dataclasses.replace(setting(start), allowance=Allowance(rows=rows, bytes=1))
        assert RandomRows().applies(here) is applies
