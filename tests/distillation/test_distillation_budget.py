"""Budgets: which texts are valid, the bytes of a set of N rows (those of its files), and the largest N that fits."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from method_problems import task_of, tiny
from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import DistilledSet, Provenance
from omnidistill.distillation.budget import BudgetTooSmallError, parse_budget, training_bytes
from omnidistill.evaluation.paper_protocol import sgd_recipe
from omnidistill.experiments.config import RunConfig, load_config
from omnidistill.experiments.config.budgets import resolve_size, run_bytes
from omnidistill.models.similarities import LowRank
from omnidistill.models.storages.coded import CodedStorage
from omnidistill.training.recipes import Sgd
from small_runs import ROWS, features, packed, run_distill, shipped, small_config, widths

WHOLE = 4 * ROWS["train"] * sum(widths(3).values())
LEARNED = ("hopa", "lors-diagonal", "lors-full", "hopa-no-similarity", "task")
STORAGES = ((), ("bits=16",), ("bits=4", "views=2"), ("bits=3",))
CHOSEN = ("random", "prototypes", "group-means", "forgetting", "covmatch", "apm")


@pytest.fixture(scope="module")
def data() -> FeatureSet:
    return features(3)


def refusal(text: str, whole: int = 10**6) -> str:
    with pytest.raises(InputError) as caught:
        parse_budget(text, whole)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# valid texts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("200000", 200_000),
        ("64k", 64_000),
        ("64kB", 64_000),
        ("64KB", 64_000),
        ("0.5M", 500_000),
        ("0.0005 GB", 500_000),
        ("17B", 17),
        (" 2e3 ", 2_000),
        ("1%", 10_000),
        ("0.1 %", 1_000),
        ("0.00015%", 1),
        ("100%", 1_000_000),
        ("1.9999", 1),
    ],
)
def test_amounts_and_percentages(text: str, expected: int) -> None:
    assert parse_budget(text, 10**6) == expected


@given(st.integers(1, 9_999), st.integers(0, 3), st.sampled_from(["", "k", "M", "G", "%"]), st.integers(1, 10**9))
def test_an_amount_is_its_exact_value_rounded_down(digits: int, decimals: int, unit: str, whole: int) -> None:
    number = Fraction(digits, 10**decimals)
    scale = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "%": Fraction(whole, 100)}[unit]
    text = f"{digits / 10**decimals:.{decimals}f}{unit}"
    if number * scale < 1:
        assert "at least one byte" in refusal(text, whole)
    elif number * scale <= whole:
        assert parse_budget(text, whole) == math.floor(number * scale)
    else:
        assert "use a smaller budget" in refusal(text, whole)


@pytest.mark.parametrize(
    "text", ["", " ", "%", "kB", "1x", "1/3", "1,5k", "1 0", "1kk", "--3", "0x10", "1\n2", "1e9999999"]
)
def test_what_is_no_amount(text: str) -> None:
    assert "not an amount of bytes; use an amount such as 200000, 64kB, 1.5M or 1%" in refusal(text)


@pytest.mark.parametrize("text", ["0", "0.9", "0.00005%", "-1", "-0.5%", "nan", "NaN%", "inf", "-infinity kB"])
def test_what_is_not_finite_or_less_than_a_byte(text: str) -> None:
    assert "must be finite and at least one byte" in refusal(text)


@pytest.mark.parametrize("text", ["1000001", "100.1%", "1G"])
def test_more_than_the_data(text: str) -> None:
    assert "exceeds the 1,000,000 bytes of the training features; use a smaller budget" in refusal(text)


@given(text=st.text(max_size=12))
@settings(max_examples=200)
def test_any_text_is_taken_or_refused_in_one_line(text: str) -> None:
    try:
        assert 1 <= parse_budget(text, 10**6) <= 10**6
    except InputError:
        refusal(text)


def test_a_percentage_is_one_of_the_training_rows(data: FeatureSet) -> None:
    assert training_bytes(data) == data.split("train").bytes == WHOLE
    without = data.select([row for row, split in enumerate(data.splits) if split != "train"])
    with pytest.raises(InputError, match="split 'train': no rows"):
        training_bytes(without)


# bytes of a set


@pytest.mark.parametrize(
    ("preset", "storage"),
    [(preset, STORAGES[0]) for preset in (*LEARNED, *CHOSEN)]
    + [(preset, STORAGES[1 + n % 3]) for n, preset in enumerate((*LEARNED, *CHOSEN))],
    ids=str,
)
def test_a_real_set_has_the_computed_size(
    preset: str, storage: tuple[str, ...], data: FeatureSet, tmp_path: Path
) -> None:
    config = tiny(preset, "distill.size=11", *(f"distill.storage.{each}" for each in storage))
    made = config.distill.run(task_of(tmp_path, config, data)).distilled
    assert made.size == 11
    made.save(tmp_path / "files")
    assert shipped(tmp_path / "files") == made.bytes == run_bytes(config, data.widths, data.preprocessing)


@pytest.mark.parametrize("preset", ["smoke", "random"])
def test_the_bytes_do_not_depend_on_the_recipe(preset: str, data: FeatureSet, tmp_path: Path) -> None:
    """Step sizes of 1 and of 17 digits, one step and a million of them, an order or none: files of equal size."""
    config = tiny(preset, "distill.size=11")
    made = config.distill.run(task_of(tmp_path, config, data)).distilled
    recipe, sizes = sgd_recipe(made), set()
    for step, order in ((1.0, None), (0.12345678901234567, 2**62), (1.2345678901234567e-30, 0)):
        other = recipe.evolve(step_sizes=(step,) * 3, num_steps=1 if order is None else 10**6, order=order)
        made.with_recipe(other).save(tmp_path / "files")
        assert DistilledSet.load(tmp_path / "files").recipe == other
        sizes.add(shipped(tmp_path / "files"))
    assert sizes == {run_bytes(config, data.widths, data.preprocessing)}


def test_means_that_are_not_rounded_take_four_bytes(data: FeatureSet, tmp_path: Path) -> None:
    """Data of version 0.1, and data that are not centred."""
    config, sizes = tiny("random", "distill.size=11"), []
    for means in (data.preprocessing.means, {name: x + 0.001 for name, x in data.preprocessing.means.items()}, {}):
        steps = dataclasses.replace(data.preprocessing, means=means)
        other = dataclasses.replace(data, preprocessing=steps)
        made = config.distill.run(task_of(tmp_path, config, other)).distilled
        made.save(tmp_path / "files")
        sizes.append(run_bytes(config, data.widths, steps))
        assert shipped(tmp_path / "files") == made.bytes == sizes[-1]
    assert sizes[2] < sizes[0] < sizes[1]


def test_without_preprocessing_the_means_take_a_byte_per_value(data: FeatureSet) -> None:
    """The manifest has one step per mean, whose text may be a few characters longer or shorter."""
    config = small_config()
    assert run_bytes(config, data.widths) == pytest.approx(run_bytes(config, data.widths, data.preprocessing), abs=20)


def test_the_size_of_a_set_larger_than_memory_is_computed() -> None:
    config = small_config("distill.size=1000000", "distill.similarity.kind=full")
    numbers = 4 * 10**6 * (8 + 10**6)
    assert numbers < run_bytes(config, {"a": 3, "b": 5}) < numbers + 2500


@pytest.mark.parametrize("storage", [(), ("distill.storage.bits=4",)], ids=str)
def test_the_sets_of_all_pairs_have_the_computed_size(
    storage: tuple[str, ...], data: FeatureSet, tmp_path: Path
) -> None:
    config = small_config("joint=false", "distill.iterations=1", 'distill.size="90%"', *storage)
    run = run_distill(str(packed(tmp_path / "SET", data)), config, tmp_path / "RUN")
    sets = run.sets()
    assert len(sets) == 3
    assert len({each.size for each in sets}) == 1
    total = sum(each.bytes for each in sets)
    assert total == run_bytes(run.config, data.widths, data.preprocessing)
    assert total == sum(shipped(folder / "distilled") for folder in (tmp_path / "RUN" / "pairs").iterdir())
    larger = run.config.evolve(distill=run.config.distill.evolve(size=sets[0].size + 1))
    assert total <= 0.9 * WHOLE < run_bytes(larger, data.widths, data.preprocessing)


# the largest that fits


def with_budget(config: RunConfig, budget: str, data: FeatureSet) -> RunConfig:
    """Return the run with the number of rows that fit the budget."""
    return resolve_size(config.evolve(distill=config.distill.evolve(size=budget)), data)


def written_bytes(config: RunConfig, size: int, data: FeatureSet, folder: Path) -> int:
    """Return the size of the files of a set of so many rows, which is written: random rows, an initial similarity."""
    distill = config.distill.evolve(size=size)
    generator = torch.Generator().manual_seed(size)
    rows = {name: torch.randn(size, width, generator=generator) for name, width in data.widths.items()}
    similarity = distill.set_similarity.init(distill.num_rows, generator)
    tensors = {f"rows/{name}": x for name, x in distill.resolved_storage.store(rows).items()}
    tensors |= {f"similarity/{name}": x for name, x in similarity.items()}
    sizes = tuple(torch.rand(3, generator=generator).tolist())
    recipe = Sgd(step_sizes=sizes, num_steps=10 ** (size % 7), batch_size=2, order=size)
    spec = dataclasses.replace(distill.spec(data.widths), recipe=recipe)
    DistilledSet(tensors, spec, data.preprocessing, Provenance(method="any", initial_ids=data.ids)).save(folder)
    return shipped(folder)


@given(
    budget=st.integers(1, WHOLE),
    bits=st.sampled_from([32, 16, 8, 6, 4, 3, 2]),
    views=st.integers(1, 3),
)
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_files_of_the_largest_size_fit_and_a_row_more_does_not(
    budget: int, bits: int, views: int, data: FeatureSet, tmp_path: Path
) -> None:
    given_config = small_config(f"distill.storage.bits={bits}", f"distill.storage.views={views}", "distill.size=40")
    if budget < (least := written_bytes(given_config, 2, data, tmp_path)):
        with pytest.raises(BudgetTooSmallError, match=f"use a budget of at least {least},") as caught:
            with_budget(given_config, str(budget), data)
        assert "\n" not in str(caught.value)
        return
    size = with_budget(given_config, str(budget), data).distill.num_stored
    assert 2 <= size <= ROWS["train"]
    assert written_bytes(given_config, size, data, tmp_path) <= budget
    assert size == ROWS["train"] or written_bytes(given_config, size + 1, data, tmp_path) > budget


def test_nothing_else_of_the_settings_changes(data: FeatureSet) -> None:
    before = load_config(preset="hopa", seed=3, overrides=["distill.storage.bits=8"])
    after = with_budget(before, "40%", data)
    assert after.distill.size > 10
    assert after == load_config(
        preset="hopa", seed=3, overrides=["distill.storage.bits=8"], distill__size=after.distill.size
    )


@pytest.mark.parametrize(("views", "rank"), [(1, 4), (2, 8), (3, 10)])
def test_a_rank_that_does_not_fit_is_lowered_to_the_rows_trained_on(views: int, rank: int, data: FeatureSet) -> None:
    config = load_config(preset="hopa", overrides=[f"distill.storage.views={views}"])
    low = load_config(preset="hopa", overrides=[f"distill.storage.views={views}", f"distill.similarity.rank={rank}"])
    four = run_bytes(low.evolve(distill=low.distill.evolve(size=4)), data.widths, data.preprocessing)
    fitted = with_budget(config, str(four), data)
    assert fitted.distill.size == 4
    assert isinstance(fitted.distill.similarity, LowRank)
    assert fitted.distill.similarity.rank == rank


@pytest.mark.parametrize(
    ("preset", "most"), [("random", ROWS["train"]), ("group-means", ROWS["train"] // 2), ("apm", 1 + widths(3)["a"])]
)
def test_no_more_rows_than_the_method_can_make(preset: str, most: int, data: FeatureSet, tmp_path: Path) -> None:
    config = with_budget(tiny(preset, "distill.storage.bits=3"), "90%", data)
    assert config.distill.size == most
    assert config.distill.run(task_of(tmp_path, config, data)).distilled.size == most


def test_the_least_budget_is_enough(data: FeatureSet) -> None:
    config = load_config(preset="lors-full")
    refused = r"budget '10': .*'LoRS, full S' needs at least 2 rows.*storage\.bits"
    with pytest.raises(BudgetTooSmallError, match=refused) as caught:
        with_budget(config, "10", data)
    assert "\n" not in str(caught.value)
    two = config.evolve(distill=config.distill.evolve(size=2))
    least = run_bytes(two, data.widths, data.preprocessing)
    assert least > 4 * (2 * sum(widths(3).values()) + 4) + sum(widths(3).values())
    assert f"which take {least:,} bytes with means and manifest" in str(caught.value)
    assert f"use a budget of at least {least}," in str(caught.value)
    with pytest.raises(BudgetTooSmallError):
        with_budget(config, str(least - 1), data)
    assert with_budget(config, str(least), data).distill.size == 2


def test_a_budget_for_data_that_are_smaller_than_two_rows_with_their_files() -> None:
    """No budget up to the size of the training features would do; the message does not suggest one."""
    data = features(2, {"heads": 4, "train": 8, "validation": 4, "test": 4})
    with pytest.raises(BudgetTooSmallError, match=r"exceed the 832 bytes of the training features, so set a number"):
        with_budget(small_config(), "50%", data)


def test_bits_use_what_the_largest_useful_number_of_rows_leaves_of_a_budget(data: FeatureSet) -> None:
    """Up to the most bits of the storage; rows of a fixed number of bits stay unchanged."""
    most = sorted(data.widths.values())[-2]

    def planned(config: RunConfig) -> int:
        return run_bytes(config, data.widths, data.preprocessing)

    def with_bits(bits: float) -> RunConfig:
        return small.evolve(distill=small.distill.evolve(storage=CodedStorage(bits=bits)))

    small = tiny("anchor-coded", f"distill.size={most}")
    for bits in (2.0, 2.7, 4.1, 4.9):
        budget = planned(with_bits(bits))
        result = with_budget(small, str(budget), data)
        assert result.distill.num_stored == most
        assert isinstance(result.distill.storage, CodedStorage)
        assert result.distill.storage.bits >= bits
        assert planned(result) <= budget < planned(with_bits(round(result.distill.storage.bits + 0.1, 1)))
    assert with_budget(small, str(WHOLE), data).distill.storage == CodedStorage(bits=5.0)
    fewer = with_budget(small, str(planned(small) - 1), data)
    assert fewer.distill.num_stored < most
    assert fewer.distill.storage == CodedStorage(bits=2.0)
    plain = with_budget(tiny("anchor"), str(WHOLE), data)
    assert plain.distill.storage == tiny("anchor").distill.storage
