"""Latent, stored and trained rows: training sees exactly what is stored."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.models.entropy_coding import LARGEST, decode, ideal_bits
from omnidistill.models.storages import Bits, Half, Plain, RowForm, RowStorage, Views, storages
from omnidistill.models.storages.coded import CodedStorage
from omnidistill.testing import check_storage

Normal = Callable[..., Tensor]
FORMS: list[RowForm] = [
    Plain(),
    Half(),
    *(Bits(bits) for bits in (2, 3, 4, 6, 8)),
    Views(Plain(), 3),
    Views(Half(), 1),
    Views(Bits(4), 4),
    Views(Bits(3), 2, seed=7),
]


@pytest.fixture
def rows(normal: Normal) -> dict[str, Tensor]:
    return {"b": normal(3, 13).float(), "a": normal(3, 6, seed=1).float()}


STORAGES = [RowStorage(), RowStorage(bits=16, views=3), RowStorage(bits=3), RowStorage(bits=6, views=2)]
CODED = [CodedStorage(bits=bits) for bits in (0.5, 1.5, 2.1, 2.8, 5)]


@pytest.mark.parametrize("form", [*FORMS, *STORAGES, *CODED], ids=repr)
def test_forms_and_storages_keep_the_contract(form: RowForm) -> None:
    check_storage(form)
    assert isinstance(form, RowForm)


def test_plain_expands_to_the_rows_it_was_given(rows: dict[str, Tensor]) -> None:
    latent = Plain().init(rows)
    for expanded in (Plain().expand(latent), Plain().load(Plain().store(latent))):
        assert list(expanded) == ["b", "a"]
        for name, matrix in rows.items():
            assert torch.equal(expanded[name], matrix)


def test_plain_learns_a_copy(normal: Normal) -> None:
    rows = {"a": normal(3, 4)}
    before = rows["a"].clone()
    latent = Plain().init(rows)
    latent["a"].add_(1)
    assert torch.equal(rows["a"], before)


@pytest.mark.parametrize(("bits", "code_bytes"), [(8, (13, 6)), (6, (10, 5)), (4, (7, 3)), (3, (5, 3)), (2, (4, 2))])
def test_few_bits_take_their_bytes_and_a_step(bits: int, code_bytes: tuple[int, int], rows: dict[str, Tensor]) -> None:
    stored = Bits(bits).store(rows)
    assert {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in stored.items()} == {
        "b/codes": ((3, code_bytes[0]), torch.uint8),
        "b/step": ((3,), torch.float32),
        "a/codes": ((3, code_bytes[1]), torch.uint8),
        "a/step": ((3,), torch.float32),
    }


def test_half_is_float16(rows: dict[str, Tensor]) -> None:
    rows["a"][0, 0], rows["a"][0, 1] = 1e6, -torch.finfo(torch.float32).max
    stored = Half().store(rows)
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert torch.equal(Half().load(stored)["b"], rows["b"].half().float())
    assert Half().load(stored)["a"][0, :2].tolist() == [65504, -65504]


@pytest.mark.parametrize("kept", [Half(), Bits(2), Bits(4), Views(Bits(3), 3), CodedStorage()], ids=repr)
def test_the_gradient_is_that_of_plain_rows_at_what_is_stored(
    kept: RowForm, rows: dict[str, Tensor], normal: Normal
) -> None:
    """A loss of all rows together that is not linear, differentiated at the stored rows as if they were learned."""

    def loss(expanded: dict[str, Tensor]) -> Tensor:
        terms = [(x @ x.mT).exp().mean() + (x**3 * normal(*x.shape).float()).sum() for x in expanded.values()]
        return torch.stack(terms).sum()

    latent = {name: x.requires_grad_() for name, x in kept.init(rows).items()}
    found = torch.autograd.grad(loss(kept.expand(latent)), list(latent.values()))
    inner = kept.inner if isinstance(kept, Views) else kept
    plain = {name: x.requires_grad_() for name, x in inner.load(inner.store(latent)).items()}
    spread = Views(Plain(), kept.num_views).expand(plain) if isinstance(kept, Views) else plain
    expected = torch.autograd.grad(loss(spread), list(plain.values()))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_a_step_within_half_a_level_moves_nothing_but_the_latent_rows() -> None:
    """Small steps accumulate, because straight-through learning does not round the latent rows."""
    latent = {"a": torch.tensor([[1.0, 0.3, -1.0]])}
    before = Bits(3).expand(latent)["a"]
    latent["a"][0, 1] += 0.01
    assert torch.equal(Bits(3).expand(latent)["a"], before)
    latent["a"][0, 1] += 0.3
    assert not torch.equal(Bits(3).expand(latent)["a"], before)


def test_views_are_rows_times_signs_the_first_as_it_is(rows: dict[str, Tensor]) -> None:
    views = Views(Plain(), 3)
    for name, expanded in views.expand(rows).items():
        signs = views.signs(name, rows[name].shape[1])
        assert signs.abs().eq(1).all()
        assert signs[0].eq(1).all()
        assert torch.equal(expanded, torch.cat([rows[name] * pattern for pattern in signs]))
    assert views.store(rows).keys() == rows.keys()


def test_patterns_are_of_seed_and_name_alone() -> None:
    one = Views(Plain(), 5).signs("a", 40)
    assert torch.equal(one, Views(Bits(2), 5).signs("a", 40))
    assert not torch.equal(one, Views(Plain(), 5).signs("b", 40))
    assert not torch.equal(one, Views(Plain(), 5, seed=1).signs("a", 40))
    assert torch.equal(one[:3], Views(Plain(), 3).signs("a", 40))


def test_patterns_stay_those_of_the_sets_on_disk() -> None:
    """Another seed, stream or order of draws would silently make every set with views another set."""
    drawn = Views(Plain(), 2).signs("image", 16)[1]
    assert drawn.tolist() == [1, -1, 1, -1, -1, -1, -1, -1, 1, -1, -1, 1, -1, -1, -1, 1]


def test_views_are_as_uncorrelated_as_random_signs_make_them_and_all_rows_independent(normal: Normal) -> None:
    """E cos^2 = sum_k u_ik^2 u_jk^2 of unit rows in different views: also where rows i and j are all but the same."""
    base = normal(8, 400)
    rows = torch.nn.functional.normalize(torch.cat([base[:4], base[:4] + 0.01 * base[4:]]), dim=1).float()
    expanded = Views(Plain(), 6).expand({"a": rows})["a"].view(6, 8, 400)
    expected = rows.square() @ rows.square().T
    cosines = torch.stack([expanded[v] @ expanded[w].T for v in range(6) for w in range(v)])
    assert float((cosines.square() / expected).mean()) == pytest.approx(1, rel=0.25)
    assert float((cosines.square() / expected).max()) < 5**2
    assert int(torch.linalg.matrix_rank(expanded.flatten(0, 1).double())) == 48


@pytest.mark.parametrize(
    ("settings", "form"),
    [
        ({}, Plain()),
        ({"bits": 16}, Half()),
        ({"bits": 3}, Bits(3)),
        ({"views": 4}, Views(Plain(), 4)),
        ({"bits": 6, "views": 2}, Views(Bits(6), 2)),
    ],
    ids=str,
)
def test_the_settings_of_a_storage_give_the_form(
    settings: dict[str, int], form: RowForm, rows: dict[str, Tensor]
) -> None:
    """Trained and stored tensors are those of the form, to the last bit."""
    storage = RowStorage.model_validate(settings)
    for step in ("init", "expand", "store"):
        found, expected = getattr(storage, step)(rows), getattr(form, step)(rows)
        assert list(found) == list(expected)
        assert all(torch.equal(found[name], x) for name, x in expected.items())
    stored = form.store(rows)
    assert all(torch.equal(storage.load(stored)[name], x) for name, x in form.load(stored).items())
    assert storage.num_rows(3) == len(form.expand(rows)["a"])
    assert storages.build({"kind": "rows", **settings}) == storage


@pytest.mark.parametrize(
    ("stored", "views"), [(1, 16), (10, 16), (30, 9), (100, 3), (165, 2), (170, 2), (171, 1), (256, 1), (500, 1)]
)
def test_automatic_views_give_about_256_rows(stored: int, views: int) -> None:
    storage = RowStorage(bits=4, views="auto")
    assert storage.resolved(stored) == RowStorage(bits=4, views=views)
    assert storage.num_rows(stored) == stored * views


def shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    return {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}


@pytest.mark.parametrize("storage", CODED, ids=repr)
@pytest.mark.parametrize(("num_rows", "width"), [(1, 1), (3, 13), (20, 384)])
def test_the_size_of_coded_rows_depends_on_shape_and_bits_alone(
    storage: CodedStorage, num_rows: int, width: int, normal: Normal
) -> None:
    """Rows that are hard or easy to code: normal, heavy-tailed, sparse, of zeros, constant, of very different sizes."""
    draw = normal(num_rows, width).float()
    cases = [draw, draw**5, torch.where(draw > 2, draw, 0), 0 * draw, torch.ones_like(draw), 10 ** (3 * draw)]
    expected = shapes(storage.empty({"a": width}, num_rows))
    for rows in cases:
        stored = storage.store({"a": rows})
        assert shapes(stored) == expected
        assert 8 * len(stored["a/code"]) <= storage.bits * rows.numel() * (1 + 2**-12) + 96


@pytest.mark.parametrize(("bits", "excess"), [(1.0, 0.29), (1.5, 0.3), (2.1, 0.3), (2.8, 0.28), (4.0, 0.28)])
def test_coded_rows_use_their_bits_and_err_like_uniform_steps(bits: float, excess: float, normal: Normal) -> None:
    """Of a Gaussian, D(R) = 2^(-2 R); small uniform steps with entropy coding lose 0.25 bits (Gish and Pierce)."""
    rows, storage = normal(50, 600).float(), CodedStorage(bits=bits)
    stored = storage.store({"a": rows})
    used = ideal_bits(decode(stored["a/code"], stored["a/table"], 50)) / rows.numel()
    assert bits - 1 / 50 < used <= bits
    error = float((storage.load(stored)["a"] - rows).square().mean() / rows.square().mean())
    assert used < -0.5 * math.log2(error) + excess
    assert float((storage.load(stored)["a"] - rows).abs().max()) < (0.51 + 0.15 / bits) * float(stored["a/step"].max())


def test_coded_rows_have_steps_in_proportion_to_their_size_or_to_their_largest_number(normal: Normal) -> None:
    rows = normal(3, 400).float()
    rows[1] *= 1000
    rows[2, 0] = 1e4
    stored = CodedStorage(bits=3).store({"a": rows})
    steps, levels = stored["a/step"].float(), decode(stored["a/code"], stored["a/table"], 3)
    assert float(steps[1] / steps[0] / 1000) == pytest.approx(float(rows[1].norm() / rows[0].norm()) / 1000, rel=0.01)
    assert float(steps[2]) == pytest.approx(1e4 / LARGEST, rel=0.01)
    assert int(levels.abs().max()) == LARGEST


@pytest.mark.parametrize("bits", [0.4, 5.1])
def test_coded_rows_refuse_other_bits(bits: float) -> None:
    with pytest.raises(InputError, match=r"bits: Input should be (less|greater) than or equal to"):
        CodedStorage().evolve(bits=bits)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("a/step", lambda x: x[0], "steps of a are not finite numbers, one per row"),
        ("a/step", lambda x: x[:, None], "steps of a are not finite"),
        ("a/step", lambda x: x.int(), "steps of a are not finite"),
        ("a/step", lambda x: x / 0, "steps of a are not finite"),
        ("a/step", lambda x: x[:4], "table of the code does not fit the number of rows"),
        ("a/step", lambda x: x[:0], "table of the code does not fit the number of rows"),
        ("a/code", lambda x: 255 - x, "cannot be decoded|checksum"),
        ("a/table", lambda x: x + 1, "table of the code does not fit|cannot be decoded|checksum"),
    ],
)
def test_damaged_coded_rows_are_refused(
    name: str, change: Callable[[Tensor], Tensor], message: str, normal: Normal
) -> None:
    stored = CodedStorage().store({"a": normal(5, 30).float()})
    with pytest.raises(ValueError, match=message):
        CodedStorage().load({**stored, name: change(stored[name])})


def test_it_is_the_storage_of_this_name() -> None:
    assert storages.build({"kind": "coded", "bits": 2.1}) == CodedStorage(bits=2.1)
    assert CodedStorage(bits=2.1).title == "2.1 coded bits"
    assert CodedStorage().num_rows(7) == 7
