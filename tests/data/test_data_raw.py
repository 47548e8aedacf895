import pytest
import torch

from omnidistill.core.errors import InputError
from omnidistill.data.raw import RawFeatures


def raw(**changes):
    parts = {
        "features": {"a": torch.zeros(3, 2, dtype=torch.float16), "b": torch.zeros(3, 4, dtype=torch.float64)},
        "ids": ("x", "y", "z"),
        "groups": ("x", "y", "y"),
        "splits": ("train", "test", "test"),
        "provenance": {},
    }
    return RawFeatures(**(parts | changes))


def test_any_float_type_and_no_captions_are_fine():
    assert raw().captions == {}


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"features": {}}, "the dict is empty"),
        ({"features": {"a": torch.zeros(3, 2), "b": torch.zeros(4, 2)}}, "'b': 4 rows"),
        ({"groups": ("x", "y")}, "groups: 2 rows"),
        ({"splits": ("train",) * 4}, "splits: 4 rows"),
        ({"captions": {"a": ("one",)}}, "captions of 'a': 1 rows"),
    ],
)
def test_counts_that_differ_are_named(changes, names):
    with pytest.raises(InputError, match=names):
        raw(**changes)
