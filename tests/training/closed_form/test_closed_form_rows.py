from __future__ import annotations

import numpy as np
import pytest
import torch
from closed_form_problems import WIDTHS, cross_of, generator, off_diagonal, products

from omnidistill.core.errors import InputError
from omnidistill.training.closed_form import place_rows

SIZE = 7


@pytest.fixture
def spread():
    draw = generator(5)
    return {name: torch.randn(p, SIZE - 1, dtype=torch.float64, generator=draw) for name, p in WIDTHS.items()}


@pytest.fixture
def means():
    draw = generator(6)
    return {name: torch.randn(p, dtype=torch.float64, generator=draw) for name, p in WIDTHS.items()}


def real_rows(seed=9):
    draw = generator(seed)
    return {name: torch.randn(SIZE, p, generator=draw) for name, p in WIDTHS.items()}


@pytest.mark.parametrize("rotation", ["random", "eye", real_rows()], ids=["random", "eye", "real rows"])
def test_every_frame_gives_these_means_and_cross_covariances(spread, means, rotation):
    rows = place_rows(means, spread, 3.0, rotation, generator(), dtype=torch.float64)
    for name, x in rows.items():
        torch.testing.assert_close(x.mean(0), means[name], rtol=0, atol=1e-12)
    wanted = {pair: 9.0 * block / (SIZE - 1) for pair, block in products(spread).items()}
    assert off_diagonal(cross_of(rows), wanted) < 1e-20


def test_random_frames_differ_and_only_they_draw(spread, means):
    draw = generator()
    first, second = (place_rows(means, spread, 1.0, "random", draw)["red"] for _ in range(2))
    assert not torch.allclose(first, second)
    assert torch.equal(first, place_rows(means, spread, 1.0, "random", generator())["red"])
    before = draw.get_state()
    for rotation in ("eye", real_rows()):
        place_rows(means, spread, 1.0, rotation, draw)
    assert torch.equal(draw.get_state(), before)
    assert first.dtype == torch.float32


def frame_of(rotation, spread=None):
    """Q itself: rows of one modality whose spread is the identity."""
    spread = spread or {"only": torch.eye(SIZE - 1, dtype=torch.float64)}
    means = {name: torch.zeros(len(block), dtype=torch.float64) for name, block in spread.items()}
    return place_rows(means, spread, 1.0, rotation, generator(), dtype=torch.float64)["only"]


def test_eye_is_the_nearest_frame_to_one_row_per_direction():
    """By hand: the polar factor of the first N - 1 columns H of I - 11^T/N, H^T H = I - 11^T/N, one eigenvalue 1/N."""
    ones = np.ones((SIZE - 1, SIZE - 1))
    columns = np.eye(SIZE)[:, : SIZE - 1] - 1 / SIZE
    wanted = columns @ (np.eye(SIZE - 1) + (np.sqrt(SIZE) - 1) * ones / (SIZE - 1))
    np.testing.assert_allclose(frame_of("eye"), wanted, atol=1e-12)


def test_random_frames_are_uniform():
    """Each entry of a uniform frame has mean 0 and mean square (1 - 1/N) / (N - 1) = 1/N."""
    draw = generator(2)
    eye, zero = {"a": torch.eye(SIZE - 1, dtype=torch.float64)}, {"a": torch.zeros(SIZE - 1, dtype=torch.float64)}
    frames = torch.stack([place_rows(zero, eye, 1.0, "random", draw, dtype=torch.float64)["a"] for _ in range(2000)])
    assert frames.mean(0).abs().max() < 0.05
    assert (frames.square().mean(0) - 1 / SIZE).abs().max() < 0.03


def test_real_rows_choose_the_nearest_frame(spread, means):
    real = real_rows()

    def distance(rotation):
        rows = place_rows(means, spread, 1.0, rotation, generator(4), dtype=torch.float64)
        return sum(float((rows[name] - x.double()).square().sum()) for name, x in real.items())

    assert distance(real) < min(distance("random"), distance("eye"))
    made = place_rows(means, spread, 1.0, "random", generator(8), dtype=torch.float64)
    again = place_rows(means, spread, 1.0, made, generator(), dtype=torch.float64)
    for name, x in made.items():
        torch.testing.assert_close(again[name], x, rtol=0, atol=1e-10)


@pytest.mark.parametrize("change", [lambda rows: rows.pop("blue"), lambda rows: rows.update(blue=torch.zeros(3, 12))])
def test_real_rows_of_another_shape_are_refused(spread, means, change):
    rows = real_rows()
    change(rows)
    with pytest.raises(InputError, match=r"\(7, 12\) for modality 'blue', found"):
        place_rows(means, spread, 1.0, rows, generator())
