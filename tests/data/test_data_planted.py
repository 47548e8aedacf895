import numpy as np
import pytest
import torch

from omnidistill.core.errors import InputError
from omnidistill.data.planted import planted

ROWS = {"train": 400, "test": 100}


def recall_after_least_squares(raw, source, target):
    """R@1 on test of a ridge regression from `source` to `target` fitted on train, neighbours by cosine; numpy only."""
    train = np.array([split == "train" for split in raw.splits])
    x, y = (raw.features[name].double().numpy() for name in (source, target))
    x, y = x - x[train].mean(0), y - y[train].mean(0)
    gram = x[train].T @ x[train] + 10 * np.eye(x.shape[1])
    predicted = x[~train] @ np.linalg.solve(gram, x[train].T @ y[train])
    unit = [z / np.linalg.norm(z, axis=1, keepdims=True) for z in (predicted, y[~train])]
    return float(np.mean((unit[0] @ unit[1].T).argmax(1) == np.arange((~train).sum())))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("modalities", [{"a": 48, "b": 32}, {"a": 48, "b": 32, "c": 40, "d": 24}])
def test_pairs_carry_signal_and_shuffled_pairs_none(modalities, seed):
    first, *others = modalities
    signal = planted(modalities, ROWS, seed=seed)
    control = planted(modalities, ROWS, seed=seed, shuffle_pairs=True)
    for other in others:
        assert recall_after_least_squares(signal, first, other) > 0.4
        assert recall_after_least_squares(control, first, other) < 0.08


def test_shuffling_moves_rows_within_their_split_and_changes_none():
    pairs, control = planted({"a": 5, "b": 3}, ROWS), planted({"a": 5, "b": 3}, ROWS, shuffle_pairs=True)
    assert pairs.ids == control.ids
    for name, x in pairs.features.items():
        for rows in (slice(0, 400), slice(400, 500)):
            assert not torch.equal(x[rows], control.features[name][rows])
            assert torch.equal(x[rows].sort(0).values, control.features[name][rows].sort(0).values)


def test_the_recipe_without_noise_is_offset_plus_tanh_of_a_shared_latent():
    raw = planted({"a": 40, "b": 50}, {"train": 300}, latent=4, noise=0.0, seed=3)
    generator = torch.Generator().manual_seed(3)  # the documented order of draws: z, then A, o, Q, g of each modality
    z = torch.randn(300, 4, generator=generator)
    for x in raw.features.values():
        width = x.shape[1]
        mixing, offset = torch.randn(4, width, generator=generator) / 2, torch.randn(width, generator=generator)
        assert torch.allclose(x, offset + torch.tanh(z @ mixing), atol=1e-5)
        torch.randn(width, width, generator=generator), torch.randn(300, width, generator=generator)


def test_noise_has_the_size_and_the_decaying_spectrum_it_says():
    clean, noisy = (planted({"a": 64, "b": 2}, {"train": 4000}, noise=noise) for noise in (0.0, 2.0))
    error = (noisy.features["a"] - clean.features["a"]).double()
    assert error.square().mean().sqrt().item() == pytest.approx(2.0, rel=0.03)
    spectrum = torch.linalg.svdvals(error - error.mean(0)).square() / len(error)
    expected = 1 / torch.arange(1, 65).double()
    assert torch.allclose(spectrum / spectrum.sum(), expected / expected.sum(), rtol=0.3)


def test_rows_of_a_group_share_a_latent_and_a_split():
    raw = planted({"a": 6, "b": 7}, {"heads": 5, "train": 7}, noise=0.0, positives_per_group=3)
    assert [raw.groups.count(group) for group in dict.fromkeys(raw.groups)] == [3, 2, 3, 3, 1]
    assert len(set(zip(raw.groups, raw.splits, strict=True))) == 5
    for x in raw.features.values():
        assert torch.equal(x[0], x[2])
        assert not torch.equal(x[2], x[3])


def test_names_change_nothing_and_a_new_modality_leaves_the_others():
    one = planted({"a": 5, "b": 6}, ROWS, seed=4)
    other = planted({"x": 5, "y": 6, "z": 3}, ROWS, seed=4)
    assert torch.equal(one.features["a"], other.features["x"])
    assert torch.equal(one.features["b"], other.features["y"])


def test_seeds_differ_and_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    one, again, two = (planted({"a": 5, "b": 6}, ROWS, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(one.features["a"], again.features["a"])
    assert not torch.equal(one.features["a"], two.features["a"])


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"modalities": {}}, "'modalities' or 'rows' is empty"),
        ({"rows": {}}, "'modalities' or 'rows' is empty"),
        ({"modalities": {"a": 0}}, "width of 'a' is 0"),
        ({"rows": {"train": 0}}, "rows of split 'train' is 0"),
        ({"rows": {"trian": 4}}, "did you mean 'train'"),
        ({"latent": 0}, "latent is 0"),
        ({"positives_per_group": 0}, "positives_per_group is 0"),
        ({"noise": -1.0}, "noise is -1"),
        ({"noise": float("nan")}, "noise is nan"),
        ({"modalities": {"a/b": 3}}, "this name is not allowed"),
    ],
)
def test_bad_sizes_are_named(changes, names):
    with pytest.raises(InputError, match=names):
        planted(**({"modalities": {"a": 3, "b": 4}, "rows": {"train": 5}} | changes))
