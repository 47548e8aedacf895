from __future__ import annotations

import pytest

from omnidistill.training.rollout import bptt_rollout, cheaper_form, dual_rollout, rollout_named, tesla_rollout

IMAGEBIND = {"vision": 1280, "text": 1024, "audio": 768}


def choice(**changes: object) -> str:
    settings = {"num_rows": 100, "num_steps": 16, "batch_size": 25, "widths": IMAGEBIND, "width": 1024, **changes}
    return cheaper_form(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("num_rows", [10, 25, 100, 200, 500])
def test_dual_at_the_sizes_of_the_paper(num_rows: int) -> None:
    assert choice(num_rows=num_rows) == "dual"


@pytest.mark.parametrize(
    "settings",
    [
        {"num_rows": 5000, "num_steps": 200, "batch_size": 25},
        {"num_rows": 2000, "num_steps": 20, "batch_size": 100, "widths": {"a": 16, "b": 32}, "width": 16},
        {"num_rows": 20000, "num_steps": 100, "batch_size": 500, "widths": {"a": 64, "b": 64, "c": 64}, "width": 64},
    ],
)
def test_bptt_where_the_rows_outnumber_the_widths(settings: dict[str, object]) -> None:
    assert choice(**settings) == "bptt"


def test_the_kernel_counts() -> None:
    """X X^T costs more than two products with heads of one output."""
    assert choice(num_rows=1000, num_steps=40, batch_size=25, widths={"a": 15000, "b": 15000}, width=1) == "bptt"


def test_the_products_of_each_step_count() -> None:
    """K_I A over many full batches, N beyond the widths."""
    assert choice(num_rows=300, num_steps=100, batch_size=300, widths={"a": 100, "b": 100}, width=256) == "bptt"
    assert choice(num_rows=50, num_steps=100, batch_size=50, widths={"a": 100, "b": 100}, width=256) == "dual"


def test_only_visited_rows_count() -> None:
    assert choice(num_rows=10**9) == choice(num_rows=400) == "dual"


def test_one_step_over_the_whole_set_leaves_nothing_to_save() -> None:
    """T = 1: dual still needs X W_0^T, X D^T and K where parameter space needs two products with the batch."""
    assert choice(num_rows=4000, batch_size=4000, num_steps=1) == "bptt"


def test_a_name_is_that_rollout_and_auto_the_cheaper_exact_one() -> None:
    small = {"num_rows": 100, "num_steps": 16, "batch_size": 25, "widths": IMAGEBIND, "width": 1024}
    large = {"num_rows": 2000, "num_steps": 20, "batch_size": 100, "widths": {"a": 16, "b": 32}, "width": 16}
    for settings in (small, large):
        assert rollout_named("dual", **settings) is dual_rollout  # type: ignore[arg-type]
        assert rollout_named("bptt", **settings) is bptt_rollout  # type: ignore[arg-type]
        assert rollout_named("tesla", **settings) is tesla_rollout  # type: ignore[arg-type]
    assert rollout_named("auto", **small) is dual_rollout  # type: ignore[arg-type]
    assert rollout_named("auto", **large) is bptt_rollout  # type: ignore[arg-type]
