import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnidistill.core.errors import InputError
from omnidistill.data.preprocessing import EPSILON, Preprocessing

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def rows(n, p, seed=0, dtype=torch.float32):
    return (torch.randn(n, p, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3 + 1).to(dtype)


def oracle(x, train, standardise=True, centre=True, epsilon=1e-5):
    x, train = x.double().numpy(), train.double().numpy()
    if standardise:
        x, train = ((v - v.mean(1, keepdims=True)) / np.sqrt(v.var(1, keepdims=True) + epsilon) for v in (x, train))
    return x - train.mean(0) if centre else x


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("standardise", [True, False])
@pytest.mark.parametrize("centre", [True, False])
def test_steps_equal_the_double_precision_oracle(dtype, standardise, centre):
    raw = {"a": rows(50, 7, 1, dtype), "b": rows(50, 30, 2, dtype)}
    train = {name: x[:20] for name, x in raw.items()}
    steps = Preprocessing.fit(train, standardise, centre)
    for name, x in steps.apply(raw).items():
        assert x.dtype == torch.float32
        expected = oracle(raw[name], train[name], standardise, False)
        if centre:
            mean = oracle(train[name], train[name], standardise, False).mean(0)
            moved, variance = steps.means[name].double().numpy() - mean, (expected[:20] - mean).var(0).sum()
            assert np.square(moved).sum() <= 1e-3 * variance  # means are rounded to 8 bits
            expected = expected - steps.means[name].double().numpy()
        np.testing.assert_allclose(x.numpy(), expected, atol=2e-6)


def test_standardising_is_layer_norm_without_affine():
    x = rows(10, 16)
    expected = torch.nn.functional.layer_norm(x, (16,), eps=EPSILON)
    assert torch.allclose(Preprocessing(True, EPSILON, {}).apply({"a": x})["a"], expected, atol=1e-6)


@given(st.integers(1, 30), st.integers(2, 12), st.integers(0, 5))
@settings(deadline=None, max_examples=25)
def test_prepared_training_rows_have_almost_mean_zero_and_each_row_is_on_its_own(n, p, seed):
    x = {"a": rows(n, p, seed)}
    steps = Preprocessing.fit(x, standardise=True, centre=True)
    centred = steps.apply(x)["a"].double()
    assert centred.mean(0).square().sum() <= 1e-3 * centred.square().sum(1).mean() + 1e-10
    one = steps.apply({"a": x["a"][n - 1 :]})["a"]
    assert torch.equal(steps.apply(x)["a"][n - 1 :], one)


def test_steps_with_other_means_have_the_same_options():
    steps = Preprocessing(True, EPSILON, {"a": torch.ones(3), "b": torch.zeros(2)})
    assert steps.same_options(Preprocessing(True, EPSILON, {"b": torch.ones(2), "a": torch.zeros(3)}))
    for other in ((False, EPSILON, steps.means), (True, 2 * EPSILON, steps.means), (True, EPSILON, {})):
        assert not steps.same_options(Preprocessing(*other))


def test_the_input_is_never_written_to_nor_shared():
    x = rows(4, 3)
    kept = x.clone()
    for steps in (Preprocessing(False, EPSILON, {}), Preprocessing.fit({"a": x}, True, True)):
        steps.apply({"a": x})["a"].zero_()
        assert torch.equal(x, kept)


def test_centring_equals_a_bias_in_the_head():
    raw = {"a": rows(30, 9, 1), "b": rows(30, 5, 2)}
    heads = {"a": rows(4, 9, 3), "b": rows(4, 5, 4)}
    centred = Preprocessing.fit(raw, standardise=True, centre=True)
    plain = Preprocessing(True, EPSILON, {})
    bias = centred.head_bias(heads)
    for name, w in heads.items():
        by_mean = centred.apply(raw)[name] @ w.T
        by_bias = plain.apply(raw)[name] @ w.T + bias[name]
        assert torch.allclose(by_mean, by_bias, atol=1e-4)
        assert bias[name].abs().max() > 0.1
        assert torch.equal(plain.head_bias(heads)[name], torch.zeros(4))


def test_head_bias_keeps_the_type_of_the_head():
    steps = Preprocessing.fit({"a": rows(30, 9)}, standardise=True, centre=True)
    assert steps.head_bias({"a": rows(4, 9, dtype=torch.float64)})["a"].dtype == torch.float64


@pytest.mark.parametrize("centre", [True, False])
def test_the_steps_of_some_modalities_do_to_them_what_all_steps_do(centre):
    raw = {"a": rows(30, 9, 1), "b": rows(30, 5, 2), "c": rows(30, 4, 3)}
    steps = Preprocessing.fit(raw, standardise=True, centre=centre)
    part = steps.only(("c", "a"))
    assert list(part.means) == (["a", "c"] if centre else [])
    assert (part.standardise, part.epsilon) == (steps.standardise, steps.epsilon)
    for name, x in part.apply({"a": raw["a"], "c": raw["c"]}).items():
        assert torch.equal(x, steps.apply(raw)[name])
    if centre:
        with pytest.raises(InputError, match="'b': the features have width 5, but no mean"):
            part.apply({"b": raw["b"]})
    assert len(steps.means) == 3 * centre


def heavy(n, p, seed=0):
    """Rows whose mean has a few large values and many small ones, as encoders return them."""
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(p, generator=generator) * torch.rand(p, generator=generator).pow(4) * 5
    return torch.randn(n, p, generator=generator) + mean


@given(st.integers(20, 60), st.integers(8, 200), st.integers(0, 9), st.booleans())
@settings(deadline=None, max_examples=50)
def test_means_are_stored_in_8_bits_without_loss(n, p, seed, standardise):
    """The stored codes give the means back bit for bit; the means of the rows move by at most 0.1 % of the variance."""
    x = {"a": heavy(n, p, seed)}
    steps = Preprocessing.fit(x, standardise, centre=True)
    tensors, meta = steps.to_tensors(), steps.to_meta()
    assert tensors["mean/a"].dtype == torch.int8
    assert int(tensors["mean/a"].abs().max()) == 127
    again = Preprocessing.from_parts(tensors, json.loads(json.dumps(meta)))
    assert torch.equal(again.means["a"], steps.means["a"])
    assert again.to_meta() == meta
    centred = steps.apply(x)["a"].double()
    assert 0 < centred.mean(0).square().sum() <= 1e-3 * centred.square().sum(1).mean()


def test_a_mean_that_8_bits_would_move_too_far_stays_in_float32():
    """The rows of one modality are almost equal to their mean; the other mean is stored in 8 bits."""
    x = {"a": 1000 + heavy(20, 9) / 100, "b": heavy(20, 9)}
    steps = Preprocessing.fit(x, standardise=False, centre=True)
    tensors, meta = steps.to_tensors(), steps.to_meta()
    assert {name: each.dtype for name, each in tensors.items()} == {"mean/a": torch.float32, "mean/b": torch.int8}
    assert meta["centred"]["a"] is None
    again = Preprocessing.from_parts(tensors, meta)
    assert all(torch.equal(again.means[name], mean) for name, mean in steps.means.items())


def test_float32_means_of_version_0_1_are_read():
    means = {"a": torch.tensor([0.1, -2.0, 3.3])}
    meta = {"standardise": True, "epsilon": 1e-5, "centred": ["a"]}
    steps = Preprocessing.from_parts({"mean/a": means["a"]}, meta)
    assert torch.equal(steps.means["a"], means["a"])
    assert torch.equal(steps.to_tensors()["mean/a"], means["a"])


def test_a_large_common_offset_leaves_the_mean_exact():
    x = {"a": rows(20_000, 2) / 100 + 1000}
    mean = Preprocessing.fit(x, standardise=False, centre=True).means["a"]
    np.testing.assert_allclose(mean.numpy(), x["a"].double().mean(0).float().numpy(), rtol=0, atol=0)


def test_a_modality_without_a_mean_or_of_another_width_is_refused():
    steps = Preprocessing.fit({"a": rows(3, 4)}, standardise=True, centre=True)
    with pytest.raises(InputError, match=r"'b': the features have width 4, but no mean.*a \(4\)"):
        steps.apply({"b": rows(3, 4)})
    with pytest.raises(InputError, match="'a': the features have width 5, but the stored mean has width 4"):
        steps.apply({"a": rows(3, 5)})
    with pytest.raises(InputError, match="'a': the features have width 5"):
        steps.head_bias({"a": rows(2, 5)})


@pytest.mark.parametrize("centre", [True, False])
def test_parts_give_the_same_steps_back(centre):
    steps = Preprocessing.fit({"a": rows(9, 4), "b": rows(9, 3)}, standardise=centre, centre=centre)
    tensors = steps.to_tensors() | {"features/a": torch.zeros(2)}
    again = Preprocessing.from_parts(tensors, steps.to_meta())
    assert (again.standardise, again.epsilon, list(again.means)) == (steps.standardise, EPSILON, list(steps.means))
    assert all(torch.equal(again.means[name], mean) for name, mean in steps.means.items())


@pytest.mark.parametrize(
    ("tensors", "meta"),
    [
        ({}, {}),
        ({}, {"standardise": True, "epsilon": 1e-5, "centred": ["a"]}),
        ({}, {"standardise": 1, "epsilon": 1e-5, "centred": []}),
        ({}, {"standardise": True, "epsilon": -1.0, "centred": []}),
        ({}, {"standardise": True, "epsilon": "x", "centred": []}),
        ({}, {"standardise": True, "epsilon": 1e-5, "centred": None}),
        ({"mean/a": torch.zeros(2, 2)}, {"standardise": True, "epsilon": 1e-5, "centred": ["a"]}),
        ({"mean/a": torch.zeros(2).long()}, {"standardise": True, "epsilon": 1e-5, "centred": ["a"]}),
        ({"mean/a": torch.tensor([0.0, float("nan")])}, {"standardise": True, "epsilon": 1e-5, "centred": ["a"]}),
    ],
)
def test_parts_that_do_not_fit_are_refused(tensors, meta):
    with pytest.raises(InputError, match="preprocessing"):
        Preprocessing.from_parts(tensors, meta)
