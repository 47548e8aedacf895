"""State dicts from disk: tensors come back bit for bit, nothing else comes in, and errors name the key."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.encoding.encoders.published_weights import check_weights, file_sha256, read_checkpoint

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2, dtype=torch.float16)}


class Opens:
    """Unpickled in full, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("suffix", [".pth", ".bin", ".safetensors"])
def test_tensors_come_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"state{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(STATE, path)
    found = read_checkpoint(path)
    assert found.keys() == STATE.keys()
    for key, tensor in STATE.items():
        assert found[key].dtype == tensor.dtype
        assert torch.equal(found[key], tensor)


def test_code_in_a_pickle_does_not_run(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2), "b": Opens(tmp_path / "made")}, tmp_path / "state.pth")
    with pytest.raises(InputError, match=r"state\.pth: cannot be read as a PyTorch state dict") as error:
        read_checkpoint(tmp_path / "state.pth")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("content", [[torch.ones(2)], {"a": torch.ones(2), "epoch": 3}])
def test_only_tensors_by_name(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "state.pth")
    with pytest.raises(InputError, match=r"state\.pth: contains a \w+; pass a file with a state dict"):
        read_checkpoint(tmp_path / "state.pth")


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.pth: cannot be read .No such file"):
        read_checkpoint(tmp_path / "none.pth")
    torch.save(STATE, tmp_path / "cut.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "cut.pth").read_bytes()[:500])
    with pytest.raises(InputError, match=r"cut\.pth: cannot be read"):
        read_checkpoint(tmp_path / "cut.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a.bias": None}, r"key 'a\.bias' of shape \(2,\) is missing; pass the published weights of it"),
        (
            {"a.bias": torch.ones(3)},
            r"'a\.bias' has dtype float32 and shape \(3,\), expected floating-point values of shape \(2,\)",
        ),
        ({"a.bias": torch.ones(2, dtype=torch.int64)}, r"'a\.bias' has dtype int64 and shape \(2,\)"),
        ({"a.bais": torch.ones(2)}, r"'a\.bais' is not a weight of it; pass .*; did you mean 'a\.bias'"),
    ],
)
def test_every_key_and_shape_is_compared(change: dict[str, Tensor | None], message: str) -> None:
    check_weights(STATE, STATE, Path("x"), "it")
    changed = {key: tensor for key, tensor in (STATE | change).items() if tensor is not None}
    with pytest.raises(InputError, match=message):
        check_weights(changed, STATE, Path("x"), "it")


def test_the_checksum_is_that_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"weights")
    assert file_sha256(tmp_path / "x") == hashlib.sha256(b"weights").hexdigest()
