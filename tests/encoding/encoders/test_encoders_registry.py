from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.encoding.encoders import registry
from omnidistill.encoding.encoders.encoder import Encoder, Item
from omnidistill.encoding.encoders.registry import encoder_names, open_encoder


class Letters:
    """An encoder of someone else: how often each letter occurs."""

    name, kind, width, views = "letters", "text", 26, 1

    def __init__(self, source: str | None, device: str) -> None:
        self.source, self.device = source, device

    def prepare(self, item: Item) -> Tensor:
        return torch.tensor([item.text.count(chr(97 + letter)) for letter in range(26)])

    def encode(self, batch: Tensor) -> Tensor:
        return batch.float().unsqueeze(1)

    def head(self) -> None:
        return None

    def fingerprint(self) -> dict[str, str]:
        return {"name": self.name}


def broken(source: str | None, device: str) -> Encoder:
    raise RuntimeError("no\nweights")


def nothing(source: str | None, device: str) -> object:
    return 3


@pytest.fixture(autouse=True)
def _others(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint(name, f"{__name__}:{of}", registry.GROUP) for name, of in (
        ("letters", "Letters"), ("broken", "broken"), ("nothing", "nothing"), ("absent", "Absent")
    )]  # fmt: skip
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == registry.GROUP else [])


def test_names_are_ours_and_those_of_entry_points() -> None:
    assert {"minilm-l6", "efficientnet-lite2", "whisper-base", "clip-image:SOURCE", "letters"} <= set(encoder_names())
    assert encoder_names() == sorted(set(encoder_names()))


def test_an_entry_point_is_given_source_and_device() -> None:
    made = open_encoder("letters:some:where", "cuda:1")
    assert type(made).__name__ == "Letters"
    assert (made.source, made.device) == ("some:where", "cuda:1")
    assert open_encoder("letters").source is None


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("minilm-l7", r"encoder 'minilm-l7': unknown; .*did you mean 'minilm-l6'\?"),
        ("clip-imaeg:x", r"unknown; .*did you mean 'clip-image:SOURCE'\?"),
        ("clip-image", r"say whose weights: clip-image:FOLDER"),
        ("whisper-base:x", r"leave ':x' out"),
        ("broken", r"encoder 'broken', of .*: cannot be made \(RuntimeError: no weights\)"),
        ("nothing", r"gave a int, which is no Encoder"),
        ("absent", r"encoder 'absent', of .*: cannot be made \(AttributeError"),
        ("clip-text:no/such@main", r"no/such@main: cannot be had from the hub|needs huggingface_hub"),
        ("clip-text:no/such", r"name a revision: no/such@COMMIT"),
        ("clip-text:nowhere", r"nowhere: no such folder"),
        ("clip-text:./no/where", r"no such folder"),
    ],
)
def test_what_cannot_be_opened_says_what_to_do(reference: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        open_encoder(reference)
    assert "\n" not in str(caught.value)


def test_folders_that_hold_no_safe_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no config\.json"):
        open_encoder(f"clip-image:{tmp_path}")
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(InputError, match=r"no \.safetensors in it; weights in other formats are not read"):
        open_encoder(f"clip-image:{tmp_path}")
