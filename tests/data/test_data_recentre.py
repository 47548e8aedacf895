"""Recentred features are those that the other means would have given."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from omnidistill.core.errors import InputError
from omnidistill.data.featureset import prepare
from omnidistill.data.planted import planted
from omnidistill.data.recentre import recentred

ROWS = {"train": 20, "validation": 5, "test": 5}


def test_features_are_those_of_the_other_means() -> None:
    raw = planted({"a": 8, "b": 7}, ROWS)
    own, other = prepare(raw), prepare(planted({"a": 8, "b": 7}, ROWS, seed=1))
    result = recentred(own, other.preprocessing, other.widths)
    expected = other.preprocessing.apply(raw.features)
    for name, x in result.features.items():
        torch.testing.assert_close(x, expected[name])
    assert result.preprocessing.difference(other.preprocessing) is None
    assert own.preprocessing.difference(other.preprocessing) == "the means of 'a', 'b'"
    assert recentred(own, own.preprocessing, own.widths) is own


def test_the_order_of_the_modalities_does_not_matter() -> None:
    own, other = prepare(planted({"a": 8, "b": 7}, ROWS)), prepare(planted({"b": 7, "a": 8}, ROWS, seed=1))
    result = recentred(own, other.preprocessing, other.widths)
    for name, x in own.features.items():
        torch.testing.assert_close(
            result.features[name], x + own.preprocessing.means[name] - other.preprocessing.means[name]
        )


def test_features_of_another_kind_are_refused() -> None:
    data = prepare(planted({"a": 8, "b": 7}, ROWS))
    with pytest.raises(InputError, match="the features have a 8, b 7, but the synthetic set has a 8, b 6; use"):
        recentred(data, data.preprocessing, {"a": 8, "b": 6})
    for steps, what in (
        (replace(data.preprocessing, means={}), "whether rows are centred"),
        (replace(data.preprocessing, standardise=False), "the standardisation of rows"),
    ):
        with pytest.raises(InputError, match=f"the features and the synthetic set differ in {what}; pack"):
            recentred(data, steps, data.widths)
