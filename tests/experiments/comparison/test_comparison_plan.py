"""What a comparison consists of: the order of its cells, names by settings alone, and all that can be refused early."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from comparison_problems import TINY, planned, tiny
from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation.budget import BudgetTooSmallError, training_bytes
from omnidistill.distillation.shipped_bytes import real_rows_bytes
from omnidistill.evaluation.baselines import Allowance, baselines
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.experiments.comparison import Cell, plan_cells
from omnidistill.experiments.comparison.plan import budgets_of
from omnidistill.experiments.config import MethodEntry, entry_config, load_config
from omnidistill.experiments.config.budgets import resolve_size, run_bytes
from small_runs import features

PUBLISHED = "paper/hopa-msrvtt-{size}"


@pytest.fixture(scope="module")
def data() -> FeatureSet:
    return features(3)


def plan(data: FeatureSet, *methods: Any, **given: Any) -> list[Cell]:
    return plan_cells(tiny(*methods, **{"settings": (), "sizes": (12,), **given}), data)


def refusal(data: FeatureSet, *methods: Any, **given: Any) -> str:
    with pytest.raises(InputError) as caught:
        plan(data, *methods, **given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# order


def test_all_methods_and_sizes_come_with_the_first_seed_before_the_next(data: FeatureSet) -> None:
    cells = plan(data, "hopa", "herding", "apm", sizes=(20, 12), seeds=(5, 3))
    assert [(cell.config.seed, cell.size, cell.method) for cell in cells] == list(
        product((5, 3), (20, 12), ("hopa", "herding", "apm"))
    )


def test_a_cell_is_the_preset_with_size_seed_and_students_of_the_comparison(data: FeatureSet) -> None:
    (cell,) = plan(data, "lors", seeds=(4,), num_students=7)
    expected = load_config(preset="lors", distill__size=12, seed=4, experts__seed=4, evaluate__num_seeds=7)
    assert cell.config == expected


def test_experts_have_the_smallest_seed_whatever_the_cell_has(data: FeatureSet) -> None:
    cells = plan(data, "hopa", "forgetting", seeds=(9, 2, 5))
    assert {cell.config.seed for cell in cells} == {9, 2, 5}
    assert {cell.config.experts.seed for cell in cells} == {2}


def test_a_published_size_is_put_in_and_the_row_is_one(data: FeatureSet) -> None:
    large = features(2, {"train": 600, "validation": 10, "test": 10})
    cells = plan(large, PUBLISHED, sizes=(100, 500))
    assert [cell.method for cell in cells] == ["paper/hopa-msrvtt"] * 2
    for cell in cells:
        published = load_config(preset=f"paper/hopa-msrvtt-{cell.size}")
        assert cell.config.distill == published.distill
    assert "paper/hopa-msrvtt-12" in refusal(data, PUBLISHED)


@pytest.mark.parametrize("num_modalities", [2, 3, 4])
def test_each_anchor_takes_every_modality_once(num_modalities: int) -> None:
    data = features(num_modalities)
    cells = plan(data, "three-pair", {"preset": "bind", "each_anchor": True}, "hopa")
    bound = cells[1:-1]
    assert [cell.config.distill.student.anchor for cell in bound] == list(data.modalities)  # type: ignore[union-attr]
    assert [cell.config.experts.objective.anchor for cell in bound] == list(data.modalities)  # type: ignore[union-attr]
    assert [cell.config.method for cell in bound] == [f"bind ({name})" for name in data.modalities]
    assert len({cell.method for cell in cells}) == len({cell.folder for cell in cells}) == num_modalities + 2


# names


def test_names_and_folders_are_unique(data: FeatureSet) -> None:
    step = {"preset": "hopa", "settings": ["distill.initial_step_size=1.0"]}
    rate = {"preset": "hopa", "settings": ["experts.learning_rate=1.0"]}
    cells = plan(data, "hopa", step, rate, sizes=(12, 20), seeds=(0, 1))
    assert len({cell.method for cell in cells}) == 3
    assert len({cell.folder for cell in cells}) == len(cells) == 12
    assert len({cell.method for cell in cells if cell.config.seed == 0 and cell.size == 12}) == 3


def test_a_label_changes_nothing_but_the_label(data: FeatureSet) -> None:
    settings = ["distill.rollout=tesla"]
    plain = plan(data, "hopa", {"preset": "lors", "settings": settings})
    named = plan(data, {"preset": "hopa", "label": "X"}, {"preset": "lors", "label": "Y", "settings": settings}, "apm")
    assert [cell.config.method for cell in named] == ["X", "Y", "APM"]
    for one, other in zip(plain, named[:2], strict=True):
        assert (one.method, one.folder) == (other.method, other.folder)
        assert one.config == other.config.evolve(method=one.config.method)


@pytest.mark.parametrize(
    "other",
    [
        {"sizes": (20,)},
        {"seeds": (1,)},
        {"num_students": 3},
        {"settings": ("distill.initial_step_size=1.0",)},
        {"settings": ("experts.learning_rate=1.0",)},
        {"settings": ("heads.width=8",)},
        {"settings": ("evaluate.max_epochs=3",)},
    ],
)
def test_any_setting_gives_another_folder_but_no_other_row(other: dict[str, Any], data: FeatureSet) -> None:
    (one,), (changed,) = plan(data, "hopa"), plan(data, "hopa", **other)
    assert one.method == changed.method == "hopa"
    assert one.folder != changed.folder


def test_a_folder_is_one_folder(data: FeatureSet) -> None:
    large = features(2, {"train": 120, "validation": 10, "test": 10})
    (cell,) = plan(large, PUBLISHED, sizes=(100,))
    assert cell.folder.startswith("paper.hopa-msrvtt-n100-s0-")
    assert "/" not in cell.folder


# baselines


def test_baselines_begin_with_zero_shot_and_full_and_sized_ones_come_once_a_size(data: FeatureSet) -> None:
    cells = planned(tiny("hopa", sizes=(12, 20), seeds=(3, 1), baselines=["cca", "random", "full"]), data)
    assert [(cell.name, cell.size) for cell in cells] == [
        *(("zero-shot", None), ("full", None), ("cca", None), ("random", 12), ("random", 20)),
    ]
    assert {cell.seed for cell in cells} == {1}
    sized = {name for name in baselines.names() if baselines.get(name).sized}
    assert {"random", "low-rank", "equal-bytes", "equal-bytes-4-bit", "cca-bytes-stacked"} <= sized
    assert not sized & {"zero-shot", "full", "full-own", "cca", "cca-infonce", "cca-stacked", "best"}


def test_a_rank_that_does_not_restrict_the_heads_is_not_a_baseline(data: FeatureSet) -> None:
    """Heads 11 wide have rank 11 at most, and rank 11 is training on all rows once more."""
    comparison = tiny("apm", sizes=(10, 11, 12), baselines=["low-rank"])
    assert [(cell.name, cell.size) for cell in planned(comparison, data, width=11)][2:] == [("low-rank", 10)]


def test_full_own_stands_for_every_objective_of_a_student(data: FeatureSet) -> None:
    names = [cell.name for cell in planned(tiny("hopa", "lors", "hopa-no-ins", "lors-full", sizes=(12,)), data)]
    own = [name for name in names if name.startswith("full-")]
    assert len(own) == len(set(own)) == 3  # LoRS and its variant have one objective
    assert own[0] == "full-hopa"
    assert not any(name.startswith("full-") for name in (cell.name for cell in planned(tiny("tesla"), data, width=9)))
    given = [{"kind": "full-own", "objective": "hopa"}, {"kind": "full-own", "objective": {"kind": "hopa"}}]
    assert [cell.name for cell in planned(tiny("apm", baselines=given[:1]), data)] == ["zero-shot", "full", "full-hopa"]
    with pytest.raises(ValueError, match="a value is given twice"):
        tiny("apm", baselines=given)


def test_sized_baselines_have_the_bytes_of_the_largest_set_of_their_size(data: FeatureSet) -> None:
    few_bits = {"preset": "covmatch", "settings": ["distill.storage.bits=4"]}
    comparison = tiny(few_bits, "lors", sizes=(12, 20), settings=())
    cells = plan_cells(comparison, data)
    sizes = [(cell.method, cell.size, run_bytes(cell.config, data.widths, data.preprocessing)) for cell in cells]
    largest = {size: max(num_bytes for _, other, num_bytes in sizes if other == size) for size in (12, 20)}
    lors = {size: num_bytes for method, size, num_bytes in sizes if method == "lors"}
    assert largest == lors
    found = {(cell.name, cell.size): cell.allowance for cell in planned(comparison, data) if cell.size}
    assert found == {
        (name, size): Allowance(size, largest[size])
        for name in ("random", "equal-bytes", "equal-bytes-4-bit")
        for size in (12, 20)
    }


def test_baselines_of_other_settings_have_other_folders(data: FeatureSet) -> None:
    def folders(seeds: tuple[int, ...], evaluate: EvaluateConfig) -> set[str]:
        cells = planned(tiny("hopa", sizes=(12, 20), seeds=seeds), data, evaluate)
        assert len({cell.folder for cell in cells}) == len(cells) == 13
        return {cell.folder for cell in cells}

    usual = folders((0, 1), EvaluateConfig())
    assert usual == folders((1, 0, 2), EvaluateConfig())
    assert usual.isdisjoint(folders((1,), EvaluateConfig()))
    assert usual.isdisjoint(folders((0,), EvaluateConfig(max_epochs=3)))


def test_a_baseline_with_settings_of_its_own_has_a_folder_of_its_own(data: FeatureSet) -> None:
    def folder(baseline: Any) -> str:
        return planned(tiny("apm", baselines=[baseline]), data)[-1].folder

    assert folder("random") == folder({"kind": "random", "max_steps": 2048})
    assert folder("random") != folder({"kind": "random", "max_steps": 64})


def test_what_a_baseline_needs_is_planned_before_it(data: FeatureSet) -> None:
    cells = {cell.name: cell for cell in planned(tiny("apm", baselines=["best", "cca-stacked"]), data)}
    assert list(cells) == ["zero-shot", "full", "cca", "cca-infonce", "best", "cca-stacked"]
    assert [cell.name for cell in cells["best"].needed] == ["full", "cca", "cca-infonce", "cca-stacked"]
    assert all(cells[cell.name] == cell for cell in cells["best"].needed)
    own = {"kind": "cca", "ridges": [0.1]}
    changed = {cell.name: cell for cell in planned(tiny("apm", baselines=[own, "best"]), data)}
    for name in cells:
        assert (cells[name].folder == changed[name].folder) == (name in ("zero-shot", "full")), name
        assert all(changed[cell.name] == cell for cell in changed[name].needed)


def test_what_a_sized_baseline_needs_has_its_size_and_allowance(data: FeatureSet) -> None:
    """Also where it is not in the table itself; and the bytes of the largest set are part of its folder."""
    for given, groups in (({"bytes": ["50%", "90%"], "settings": ()}, 2), ({"sizes": (12, 20)}, 2)):
        cells = planned(tiny("apm", baselines=["cca-bytes-stacked", "cca-stacked"], **given), data)
        stacked = [cell for cell in cells if cell.name == "cca-bytes-stacked"]
        assert len(stacked) == groups
        needed = [each for cell in stacked for each in cell.needed]
        assert [(each.size, each.budget, each.allowance) for each in needed] == [
            (cell.size, cell.budget, cell.allowance) for cell in stacked
        ]
        assert needed == [cell for cell in cells if cell.name == "cca-bytes"]
        folders = [each.folder for each in needed]
        assert all(f"-{each.allowance.bytes}B" in each.folder for each in needed if each.allowance)
        assert len(set(folders)) == groups
        (unsized,) = (cell for cell in cells if cell.name == "cca-stacked")
        assert [(each.name, each.size, each.allowance) for each in unsized.needed] == [("cca", None, None)]


# budgets


def plan_bytes(data: FeatureSet, *methods: Any, **given: Any) -> list[Cell]:
    return plan_cells(tiny(*methods, **{"settings": (), **given}), data)


FEW_BITS = {"preset": "covmatch", "settings": ["distill.storage.bits=4"]}


def test_at_a_budget_every_method_has_the_rows_that_fit(data: FeatureSet) -> None:
    methods = ("lors", "covmatch", "random", "lors-separate")
    cells = plan_bytes(data, *methods, FEW_BITS, bytes=["90%", "7.5k"], seeds=(5, 3))
    budgets = [training_bytes(data) * 9 // 10, 7500]
    assert [(cell.config.seed, cell.budget) for cell in cells[::5]] == list(product((5, 3), budgets))
    assert {cell.budget for cell in cells} == {cell.group for cell in cells} == set(budgets)
    assert all(run_bytes(cell.config, data.widths, data.preprocessing) <= (cell.budget or 0) for cell in cells)
    sizes = {cell.method: cell.size for cell in cells if cell.budget == budgets[0]}
    assert len(sizes) == 5
    assert 1 < sizes["lors-separate"] < sizes["lors"] < sizes["random"] < sizes["covmatch"] < max(sizes.values())


def test_a_cell_of_a_budget_is_that_of_its_size(data: FeatureSet) -> None:
    """And takes its place, so that comparisons by sizes and by bytes share sets."""
    comparison = tiny("hopa", settings=(), bytes=["40%"], num_students=4)
    (cell,) = plan_cells(comparison, data)
    assert cell.config == resolve_size(entry_config(MethodEntry(preset="hopa"), None, 0, comparison, "40%"), data)
    assert cell.config.evaluate.num_seeds == 4
    (sized,) = plan(data, "hopa", sizes=(cell.size,), num_students=4)
    assert (sized.config, sized.folder) == (cell.config, cell.folder)
    assert (sized.budget, sized.group) == (None, cell.size)


def test_a_budget_that_is_too_small_for_a_method_has_no_cell_of_it(data: FeatureSet) -> None:
    smallest = load_config(preset="covmatch", overrides=["distill.storage.bits=4", "distill.size=2"])
    least = run_bytes(smallest, data.widths, data.preprocessing)
    cells = plan_bytes(data, "covmatch", FEW_BITS, "lors-separate", bytes=["10", f"{least}", "90%"])
    assert [(cell.method.partition("-")[0], cell.budget) for cell in cells] == [
        ("covmatch", least),
        *(("covmatch", training_bytes(data) * 9 // 10),) * 2,
        ("lors", training_bytes(data) * 9 // 10),
    ]
    with pytest.raises(BudgetTooSmallError, match=r"method 'LoRS \(pairs\)' needs at least 2 rows"):
        plan_bytes(data, "apm", "lors-separate", bytes=["10", "1700"])


def test_baselines_at_a_budget_have_its_float32_rows_and_its_bytes(data: FeatureSet) -> None:
    sizes = [real_rows_bytes(rows, data.widths, data.preprocessing) for rows in range(1, 65)]
    whole = training_bytes(data)
    budgets = (sizes[10] + 1, whole, sizes[1] - 1)
    comparison = tiny("apm", bytes=[f"{budgets[0]}", "100%", f"{budgets[2]}"], seeds=(3, 1))
    cells = planned(comparison, data, width=16)
    most = sum(size <= whole for size in sizes)
    assert 40 < most < 64
    allowed = dict(zip(budgets, (11, most, 1), strict=True))
    assert [(cell.name, cell.budget, cell.allowance) for cell in cells] == [
        *(("zero-shot", None, None), ("full", None, None)),
        *(("random", budget, Allowance(rows, budget)) for budget, rows in zip(budgets[:2], (11, most), strict=True)),
        ("low-rank", budgets[0], Allowance(11, budgets[0])),
        *(("equal-bytes", budget, Allowance(rows, budget)) for budget, rows in allowed.items()),
        *(("equal-bytes-4-bit", budget, Allowance(rows, budget)) for budget, rows in allowed.items()),
        *((name, None, None) for name in ("cca", "cca-infonce", "cca-stacked", "best")),
    ]
    assert [cell.group for cell in cells] == [cell.budget for cell in cells]
    assert [cell.size for cell in cells] == [None] * len(cells)
    assert len({cell.folder for cell in cells}) == len(cells)
    sized = planned(tiny("apm", sizes=(11,), seeds=(1,)), data, width=16)
    shared = {cell.folder for cell in sized} & {cell.folder for cell in cells}
    unsized = {"zero-shot", "full", "cca", "cca-infonce", "cca-stacked", "best"}
    assert {name.rpartition("-s1-")[0] for name in shared} == unsized


@pytest.mark.parametrize(
    ("methods", "given", "told"),
    [
        (("hopa",), {"bytes": ["1%", "much"]}, ("budget 'much'", "not an amount of bytes")),
        (("hopa",), {"bytes": ["120%"]}, ("budget '120%'", "use a smaller budget")),
        (("hopa",), {"bytes": ["1%"]}, ("budget '1%'", "at least 2 rows", "bytes with means and manifest")),
        (("hopa",), {"bytes": ["50%", "5376"]}, ("bytes 50%, 5376", "remove one")),
        ((PUBLISHED,), {"bytes": ["50%"]}, (PUBLISHED, "only for certain numbers of rows", "instead of 'bytes'")),
        (
            ("apm",),
            {"bytes": ["50%"], "settings": ("distill.rho=1.0",)},
            ("distill.rho=1.0", "none of the compared"),
        ),
        (({"preset": "apm", "settings": ["distill.rho=1.0"]},), {"bytes": ["50%"]}, ("method apm: ", "'distill.rho'")),
    ],
)
def test_budgets_that_cannot_be_are_refused_before_the_work(
    methods: tuple[Any, ...], given: dict[str, Any], told: tuple[str, ...], data: FeatureSet
) -> None:
    with pytest.raises(InputError) as caught:
        plan_bytes(data, *methods, **given)
    assert "\n" not in str(caught.value)
    for part in told:
        assert part in str(caught.value)


def test_budgets_are_told_in_bytes(data: FeatureSet) -> None:
    assert budgets_of(tiny("apm", bytes=["1%", "2k"]), data) == [107, 2000]
    assert budgets_of(tiny("apm"), data) == []


# settings for all


def test_a_setting_goes_to_the_methods_that_have_it(data: FeatureSet) -> None:
    hopa, apm, herding = plan(data, "hopa", "apm", "herding", settings=("distill.iterations=7", "distill.max_steps=16"))
    assert hopa.config.distill.iterations == 7  # type: ignore[union-attr]
    assert apm.config.distill.max_steps == herding.config.distill.max_steps == 16  # type: ignore[union-attr]


def test_a_choice_brings_the_settings_of_the_choice(data: FeatureSet) -> None:
    """By whichever list it is made, and not for a method that cannot make it."""
    chosen, momentum = "distill.optimiser.kind=sgd", "distill.optimiser.momentum=0.9"
    for methods, settings in (
        (("hopa", "apm"), (momentum, chosen)),
        (({"preset": "hopa", "settings": [chosen]}, "apm"), (momentum,)),
    ):
        hopa, _ = plan(data, *methods, settings=settings)
        assert hopa.config.distill.optimiser.momentum == 0.9  # type: ignore[union-attr]
    assert "none of the compared methods has the setting" in refusal(data, "hopa", settings=(momentum,))


def test_own_settings_come_after_those_for_all(data: FeatureSet) -> None:
    own = {"preset": "hopa", "settings": ["distill.iterations=9"]}
    first, second = plan(data, own, "lors", settings=("distill.iterations=7",))
    assert (first.config.distill.iterations, second.config.distill.iterations) == (9, 7)  # type: ignore[union-attr]


def test_all_the_settings_of_these_tests_are_used(data: FeatureSet) -> None:
    assert len(plan(data, "hopa", "apm", settings=TINY)) == 2


# refused


@pytest.mark.parametrize(
    ("methods", "given", "told"),
    [
        (("hopa",), {"sizes": (12, 65)}, ("size 65", "64 training rows")),
        (("hoppa",), {}, ("unknown preset 'hoppa'", "did you mean 'hopa'")),
        (("paper-table-1",), {}, ("unknown preset 'paper-table-1'", "omnidistill presets")),
        (("hopa", "apm", "hopa"), {}, ("method hopa", "twice")),
        (("hopa", {"preset": "hopa", "label": "again"}), {}, ("method hopa", "twice", "different settings")),
        (("bind",), {}, ("anchor 'text'", "a, b, c")),
        (("three-pair",), {"settings": ("distill.student.anchor=z",)}, ("anchor 'z'", "a, b, c")),
        (("three-pair",), {"settings": ("experts.objective.anchor=z",)}, ("anchor 'z'", "a, b, c")),
        (("lors-separate",), {"settings": ("distill.student.anchor=a",)}, ("anchor 'a'", "b, c")),
        (({"preset": "hopa", "each_anchor": True},), {}, ("hopa (a)", "12 rows", "unknown setting")),
        (
            ("herding", "apm"),
            {"settings": ("distill.iterations=7",)},
            ("distill.iterations=7", "none of the compared"),
        ),
        (
            ("hopa",),
            {"settings": ("distill.itertions=7",)},
            ("none of the compared", "did you mean 'distill.iterations'"),
        ),
        (("hopa",), {"settings": ("iterations",)}, ("setting iterations", "none of the compared")),
        (
            ("hopa",),
            {"settings": ("distill.target=task",)},
            ("setting distill.target", "is now called 'distill.outer.kind'"),
        ),
        (({"preset": "hopa", "settings": ["distill.kind=task"]},), {}, ("hopa, 12 rows", "setting distill.kind: ")),
        (("hopa",), {"settings": ("distill.iterations",)}, ("hopa, 12 rows", "key=value")),
        (("apm", "hopa"), {"settings": ("distill.iterations=0",)}, ("HoPA", "distill.iterations = 0")),
        (("hopa",), {"sizes": (9,)}, ("hopa, 9 rows", "similarity.rank = 10 exceeds size = 9")),
        (({"preset": "apm", "settings": ["distill.rho=1.0"]},), {}, ("apm, 12 rows", "unknown setting 'distill.rho'")),
    ],
)
def test_what_cannot_be_is_refused_before_the_work(
    methods: tuple[Any, ...], given: dict[str, Any], told: tuple[str, ...], data: FeatureSet
) -> None:
    message = refusal(data, *methods, **given)
    for part in told:
        assert part.lower() in message.lower(), message
