"""From arrays to heads: the front does what `run_distill` does, and says what it was not told."""

from __future__ import annotations

import copy
import pickle
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import sklearn.base
import torch

from omnidistill import Distiller
from omnidistill.core.errors import InputError
from omnidistill.data.featureset import prepare
from omnidistill.data.fingerprint import fingerprint
from omnidistill.data.planted import planted
from omnidistill.data.raw import RawFeatures
from omnidistill.data.store import load_features
from omnidistill.experiments.run import open_run
from omnidistill.models.heads import embed
from small_runs import ROWS, packed, run_distill, small_config, small_heads, widths

SMALL = ("heads.width=8",)


@pytest.fixture(scope="module")
def raw() -> RawFeatures:
    return planted(widths(2), ROWS, latent=6, positives_per_group=2)


@pytest.fixture(scope="module")
def arrays(raw: RawFeatures) -> dict[str, np.ndarray]:
    return {name: x.numpy() for name, x in raw.features.items()}


@pytest.fixture(scope="module")
def fitted(raw: RawFeatures, arrays: dict[str, np.ndarray]) -> Distiller:
    front = Distiller(size=6, preset="smoke", settings=SMALL)
    return front.fit(arrays, ids=raw.ids, groups=raw.groups, splits=raw.splits)


def test_it_is_a_run(fitted: Distiller, raw: RawFeatures, tmp_path: Path) -> None:
    place = packed(tmp_path / "SET", prepare(raw))
    run = run_distill(str(place), small_config(distill__size=6), tmp_path / "RUN")
    heads = run.distilled().train(run.heads(load_features(place)))
    assert fitted.modalities_ == ("a", "b")
    assert fitted.distilled_.size == 6
    for name, matrix in heads.items():
        assert torch.equal(fitted.heads_[name], matrix)
        assert torch.equal(fitted.start_[name], run.heads(load_features(place))[name])


def test_raw_features_and_prepared_ones_are_taken_too(fitted: Distiller, raw: RawFeatures) -> None:
    for given in (raw, prepare(raw)):
        again = Distiller(size=6, preset="smoke", settings=SMALL).fit(given)
        assert all(torch.equal(again.heads_[name], matrix) for name, matrix in fitted.heads_.items())


def test_transform_prepares_and_embeds(fitted: Distiller, raw: RawFeatures, arrays: dict[str, np.ndarray]) -> None:
    made = fitted.transform({"b": arrays["b"][:7]})
    assert list(made) == ["b"]
    expected = embed(fitted.heads_, prepare(raw).features)["b"][:7]
    torch.testing.assert_close(made["b"], expected)
    torch.testing.assert_close(made["b"].norm(dim=1), torch.ones(7))


def test_a_validation_split_is_drawn_by_group_and_told(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    some = {name: x[:60] for name, x in arrays.items()}
    groups = [row // 3 for row in range(60)]
    front = Distiller(size=6, preset="smoke", settings=SMALL, folder=tmp_path)
    with pytest.warns(UserWarning, match=r"4 of 20 training groups \(12 rows\) were chosen at random with seed 0"):
        front.fit(some, groups=groups)
    data = load_features(tmp_path / "SET")
    assert data.split_sizes == {"train": 48, "validation": 12}
    assert not {*data.split("train").groups} & {*data.split("validation").groups}
    assert open_run(tmp_path / "RUN").distilled().size == 6


def test_given_splits_are_kept_without_a_word(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    splits = ["train"] * 40 + ["validation"] * 20
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        front = Distiller(size=6, preset="smoke", settings=SMALL, folder=tmp_path)
        front.fit({name: x[:60] for name, x in arrays.items()}, splits=splits)
    assert load_features(tmp_path / "SET").splits == tuple(splits)


def test_a_folder_goes_on_with_its_own_rows_and_loses_nothing_to_others(
    fitted: Distiller, raw: RawFeatures, tmp_path: Path
) -> None:
    front = Distiller(size=6, preset="smoke", settings=SMALL, folder=tmp_path)
    front.fit(raw)
    again = Distiller(size=6, preset="smoke", settings=SMALL, folder=tmp_path).fit(raw)
    assert all(torch.equal(again.heads_[name], matrix) for name, matrix in fitted.heads_.items())
    others = planted(widths(2), ROWS, latent=6, positives_per_group=2, seed=1)
    with pytest.raises(
        InputError, match="SET: contains other features than those passed to fit; choose another folder"
    ):
        front.fit(others)
    with pytest.raises(InputError, match="RUN: contains another run"):
        Distiller(size=7, preset="smoke", settings=SMALL, folder=tmp_path).fit(raw)
    kept = open_run(tmp_path / "RUN")
    assert kept.fingerprint == fingerprint(load_features(tmp_path / "SET"))
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == ["RUN", "SET"]


def test_heads_and_whole_numbers_are_taken(raw: RawFeatures, arrays: dict[str, np.ndarray]) -> None:
    start = small_heads(prepare(raw), width=5, seed=4)
    front = Distiller(size=6, preset="smoke", heads={name: x.numpy() for name, x in start.items()})
    whole = {name: (10 * x).astype(int) for name, x in arrays.items()}
    front.fit(whole, splits=raw.splits, groups=raw.groups)
    assert all(torch.equal(front.start_[name], start[name]) for name in start)
    assert front.transform(whole)["a"].shape == (len(raw.ids), 5)


def test_a_budget_makes_coded_rows(raw: RawFeatures) -> None:
    front = Distiller(budget="4000", settings=(*SMALL, "distill.iterations=2", "heads.num_epochs=1")).fit(raw)
    assert front.distilled_.spec.storage.kind == "coded"
    assert front.distilled_.bytes <= 4000


def test_parameters_come_and_go(fitted: Distiller) -> None:
    front = Distiller(size=6, preset="smoke", settings=SMALL)
    assert front.get_params() == fitted.get_params()
    assert Distiller(**front.get_params()).get_params() == front.get_params()
    assert front.set_params(size=9, seed=2) is front
    assert (front.size, front.seed) == (9, 2)
    assert copy.deepcopy(front).get_params() == front.get_params()


def test_scikit_learn_clones_it() -> None:
    front = Distiller(size=6, settings=SMALL, heads={"a": np.ones((2, 3))})
    front.heads_ = {"a": torch.ones(2, 3)}
    clone = sklearn.base.clone(front)
    assert not hasattr(clone, "heads_")
    assert clone.get_params().keys() == front.get_params().keys()
    assert (clone.size, clone.settings) == (6, SMALL)
    assert np.array_equal(clone.heads["a"], front.heads["a"])


def test_a_fitted_one_is_pickled_and_tells_its_parameters(fitted: Distiller, arrays: dict[str, np.ndarray]) -> None:
    again = pickle.loads(pickle.dumps(fitted))
    assert again.get_params() == fitted.get_params()
    for name, embeddings in fitted.transform(arrays).items():
        assert torch.equal(again.transform(arrays)[name], embeddings)
    assert repr(Distiller(size=6, preset="smoke")) == (
        "Distiller(size=6, budget=None, preset='smoke', settings=(), heads=None, seed=0, device='auto', folder=None)"
    )


def test_fitting_changes_no_parameter_and_makes_no_temporary_folder(
    raw: RawFeatures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a temporary folder is made")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    monkeypatch.chdir(tmp_path)
    start = small_heads(prepare(raw), width=5)
    given = {name: matrix.clone() for name, matrix in start.items()}
    settings = {"distill.iterations": 2}
    front = Distiller(size=6, preset="smoke", settings=settings, heads=start)
    before = dict(front.get_params())
    front.fit(raw)
    assert front.get_params() == before
    assert front.settings is settings
    assert settings == {"distill.iterations": 2}
    assert all(torch.equal(start[name], matrix) for name, matrix in given.items())
    assert list(tmp_path.iterdir()) == []


def test_settings_are_a_dict_or_texts(raw: RawFeatures, fitted: Distiller) -> None:
    by_dict = Distiller(size=6, preset="smoke", settings={"heads": {"width": 8}}).fit(raw)
    assert all(torch.equal(by_dict.heads_[name], matrix) for name, matrix in fitted.heads_.items())


def test_what_is_wrong_is_said(fitted: Distiller, raw: RawFeatures, arrays: dict[str, np.ndarray]) -> None:
    small = Distiller(size=6, preset="smoke", settings=SMALL)
    cases = {
        "not fitted yet; call fit first": lambda: small.transform(arrays),
        "modality 'c': the Distiller was not fitted to this modality; choose from a, b": lambda: fitted.transform(
            {"c": arrays["a"]}
        ),
        "the stored mean has width 12": lambda: fitted.transform({"a": arrays["b"]}),
        "both determine the number of synthetic rows; pass only one": lambda: Distiller(size=6, budget="1%").fit(
            arrays
        ),
        "no parameter 'sizes'; .*; did you mean 'size'": lambda: small.set_params(sizes=3),
        "a RawFeatures already contains them; omit these": lambda: small.fit(raw, ids=raw.ids),
        "modality 'a': dtype is <U1": lambda: small.fit({**arrays, "a": np.array([["x"]])}),
        r"modality 'a': shape is \(3,\); features must have shape \(rows, width\)": lambda: small.fit(
            {**arrays, "a": [1, 2, 3]}
        ),
        "device='gpu': unknown device": lambda: Distiller(size=6, preset="smoke", device="gpu").fit(raw),
        r"too few training groups \(2\)": lambda: small.fit({name: x[:2] for name, x in arrays.items()}),
        "modality 'b': 5 rows, but there are 4 ids": lambda: small.fit({"a": arrays["a"][:4], "b": arrays["b"][:5]}),
        "features: the dict is empty": lambda: small.fit({}),
    }
    for message, act in cases.items():
        with pytest.raises(InputError, match=message):
            act()
