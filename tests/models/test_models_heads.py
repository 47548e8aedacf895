from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.io.artifacts import write_tensors
from omnidistill.models.heads import (
    check_heads,
    embed,
    load_heads,
    project,
    random_heads,
    save_heads,
    shared_groups,
    stack,
)

Normal = Callable[..., Tensor]
WIDTHS = {"audio": 5, "text": 3}


@pytest.fixture
def heads(normal: Normal) -> dict[str, Tensor]:
    return {name: normal(4, p, seed=p).float() for name, p in WIDTHS.items()}


def test_outputs_are_products_and_embeddings_their_directions(heads: dict[str, Tensor], normal: Normal) -> None:
    features = {name: normal(6, p, seed=10 + p).float() for name, p in WIDTHS.items()}
    outputs, embeddings = project(heads, features), embed(heads, features)
    for name, w in heads.items():
        for i, x in enumerate(features[name].numpy()):
            y = w.numpy() @ x
            np.testing.assert_allclose(outputs[name][i], y, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(embeddings[name][i], y / np.linalg.norm(y), rtol=1e-4, atol=1e-5)


def test_modalities_without_a_head_are_left_out(heads: dict[str, Tensor], normal: Normal) -> None:
    features = {"depth": normal(6, 2).float(), **{name: normal(6, p).float() for name, p in WIDTHS.items()}}
    assert list(project(heads, features)) == list(heads)


def test_stack_keeps_the_order_of_the_mapping() -> None:
    first, second = torch.zeros(2, 3), torch.ones(2, 3)
    assert torch.equal(stack({"z": first, "a": second}), torch.stack([first, second]))


def test_random_heads_keep_the_variance_of_standardised_features(normal: Normal) -> None:
    widths = {"wide": 400, "narrow": 50}
    heads = random_heads(widths, 64, torch.Generator().manual_seed(0))
    again = random_heads(widths, 64, torch.Generator().manual_seed(0))
    for name, p in widths.items():
        assert heads[name].shape == (64, p)
        assert torch.equal(heads[name], again[name])
        assert (normal(500, p).float() @ heads[name].mT).var().item() == pytest.approx(1, rel=0.15)
    assert not torch.equal(heads["wide"][:, :50], heads["narrow"])


def test_rows_of_one_group_are_positives_of_each_other() -> None:
    groups = torch.tensor([[7, 7, 2], [0, 1, 0]])
    expected = torch.tensor([[[1, 1, 0], [1, 1, 0], [0, 0, 1]], [[1, 0, 1], [0, 1, 0], [1, 0, 1]]]).float()
    assert torch.equal(shared_groups(groups), expected)


def test_heads_come_back_from_an_artifact_as_they_were(heads: dict[str, Tensor], tmp_path: Path) -> None:
    save_heads(heads, tmp_path / "heads", {"epochs": 3})
    found, meta = load_heads(tmp_path / "heads", {"text": 3, "audio": 5})
    assert list(found) == ["text", "audio"]
    assert all(torch.equal(found[name], heads[name]) for name in heads)
    assert meta["epochs"] == 3
    assert meta["modalities"] == ["audio", "text"]


def test_heads_come_from_a_bare_file_in_any_float_type(heads: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "pretrained.safetensors"
    write_tensors(path, {"unused": torch.zeros(1), **{name: w.half() for name, w in heads.items()}})
    found, meta = load_heads(path, WIDTHS)
    assert list(found) == list(WIDTHS)
    for name, w in heads.items():
        assert found[name].dtype == torch.float32
        assert torch.equal(found[name], w.half().float())
    assert meta == {"source": "pretrained.safetensors"}


def nan(w: Tensor) -> Tensor:
    w = w.clone()
    w[1, 2] = float("nan")
    return w


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": None}, r"pretrained.*no head for modality 'text' \(found: audio\)"),
        ({"text": torch.zeros(4, 7)}, r"head of modality 'text' has shape \(4, 7\), expected \(output width, 3\)"),
        ({"text": torch.zeros(3, 4)}, r"head of modality 'text' has shape \(3, 4\), expected \(output width, 3\)"),
        ({"text": torch.zeros(3)}, r"head of modality 'text' has shape \(3,\)"),
        ({"text": torch.zeros(2, 3)}, r"different output widths \{'audio': 4, 'text': 2\}"),
        ({"text": nan(torch.zeros(4, 3))}, r"head of modality 'text' contains NaN or Inf"),
        ({"audio": torch.full((4, 5), float("inf"))}, r"head of modality 'audio' contains NaN or Inf"),
    ],
)
def test_heads_that_do_not_fit_are_refused_by_modality(
    heads: dict[str, Tensor], tmp_path: Path, change: dict[str, Tensor | None], message: str
) -> None:
    changed = {name: w for name, w in {**heads, **change}.items() if w is not None}
    with pytest.raises(InputError, match=message) as caught:
        check_heads(changed, WIDTHS, "pretrained")
    assert "\n" not in str(caught.value)
    path = tmp_path / "pretrained.safetensors"
    write_tensors(path, changed)
    with pytest.raises(InputError, match=message):
        load_heads(path, WIDTHS)
