"""The fingerprint: one hash over the chosen rows, which every change of a development row changes."""

from __future__ import annotations

import hashlib

import pytest
import torch

from omnidistill.data.featureset import FeatureSet
from omnidistill.data.fingerprint import fingerprint
from small_runs import features


def test_a_fingerprint_is_computed_once_per_set(monkeypatch: pytest.MonkeyPatch) -> None:
    data = features()
    first = fingerprint(data)
    monkeypatch.setattr("omnidistill.data.fingerprint._digest", lambda *_: "computed again")
    assert fingerprint(data) == first
    assert fingerprint(data, ("test",)) == "computed again"


@pytest.mark.parametrize("split", ["heads", "train", "validation"])
def test_a_development_row_changes_the_fingerprint(split: str) -> None:
    data = features()
    row = data.splits.index(split)
    mark = fingerprint(features())
    assert fingerprint(features()) == mark
    data.features["b"][row, 0] += 1
    assert fingerprint(data) != mark
    renamed = tuple("other" if index == row else name for index, name in enumerate(features().ids))
    fresh = features()
    assert (
        fingerprint(FeatureSet(fresh.features, renamed, fresh.groups, fresh.splits, None, fresh.preprocessing, {}))
        != mark
    )


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_the_fingerprint_is_one_hash_over_the_chosen_rows(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not depend on the chunk size, or on whether splits are consecutive."""
    monkeypatch.setattr("omnidistill.data.fingerprint._ROWS_AT_ONCE", at_once)
    order = torch.randperm(len(features()), generator=torch.Generator().manual_seed(0))
    for data in (features(), features().select(order)):
        chosen = [row for row, split in enumerate(data.splits) if split in ("train", "heads")]
        whole = b"".join(
            f"{name}({x.shape[1]},)".encode() + x[chosen].numpy().tobytes() for name, x in sorted(data.features.items())
        )
        names = "".join(f"{data.ids[row]}\0{data.groups[row]}\0{data.splits[row]}\n" for row in chosen)
        assert fingerprint(data, ("heads", "train")) == hashlib.sha256(whole + names.encode()).hexdigest()
        assert fingerprint(data, ("heads", "train")) != fingerprint(data, ("train",))
