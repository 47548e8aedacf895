from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.encoding.encoders import encoder_factory, encoder_names, encoder_works, encoders, open_encoder
from omnidistill.encoding.encoders.encoder import Encoder, Item
from omnidistill.experiments.cite import cite, works
from plugins import installed


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
def _plugins() -> Iterator[None]:
    objects = {"letters": "Letters", "broken": "broken", "nothing": "nothing", "absent": "Absent"}
    with installed(encoders, {name: f"{__name__}:{value}" for name, value in objects.items()}):
        yield


def test_names_include_built_in_encoders_and_entry_points() -> None:
    assert {"minilm-l6", "efficientnet-lite2", "whisper-base", "clip-image:SOURCE", "letters"} <= set(encoder_names())
    assert encoder_names() == sorted(set(encoder_names()))
    assert {name.partition(":")[0] for name in encoder_names()} == set(encoders.names())


def test_the_registry_imports_no_encoder() -> None:
    code = """if True:
        import sys
        from omnidistill.encoding.encoders import encoders
        assert "clip-image" in encoders.names() and "clip-image" in encoders
        print([name for name in sys.modules if name == "torch" or name.startswith("omnidistill.encoding.encoders.")])
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['omnidistill.encoding.encoders.encoder_registry']\n"


BUILT_IN = encoders.names()


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_encoder_describes_itself(name: str) -> None:
    entry = encoders.get(name)
    assert entry.source in ("required", "none")
    assert entry.__doc__.partition("\n")[0].endswith(".")
    assert entry.cites or name.startswith("pe-av-")
    assert set(entry.cites) <= set(works())
    assert (name, encoders.package(name)) == (name, None)


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("clip-image:FOLDER", {"clip"}),
        ("frames-clip-image:clip-vit-base", {"clip"}),
        ("CLIP ViT-L/14", {"clip"}),
        ("siglip2", {"siglip"}),
        ("all-MiniLM-L6-v2", {"minilm", "sentence-bert"}),
        ("whisper_large", {"whisper"}),
        ("imagebind", {"imagebind"}),
    ],
)
def test_names_in_provenance_are_cited(name: str, keys: set[str]) -> None:
    assert set(cite([name])) == {"omnidistill", *keys}


def test_an_encoder_registered_from_python_is_opened_and_cited() -> None:
    entry = "@misc{alphabet,\n  title = {Letters}\n}"

    @encoders.register("alphabet")
    @encoder_factory("required", licence="LETTERS-NC", cites=(entry, "clip"), aliases=("abc",))
    def alphabet(source: str, device: str) -> Letters:
        """How often each letter occurs."""
        return Letters(source, device)

    assert open_encoder("alphabet:x").source == "x"
    assert "alphabet:SOURCE" not in encoder_names()  # only of built-in ones, which are imported
    assert encoders.list()["alphabet"] == "How often each letter occurs."
    assert encoder_works()["abc"] == (entry, "clip")
    assert cite(["ABC small"])["alphabet"] == entry
    with pytest.raises(InputError, match="use alphabet:FOLDER"):
        open_encoder("alphabet")


def test_an_entry_point_receives_source_and_device() -> None:
    encoder = open_encoder("letters:some:where", "cuda:1")
    assert type(encoder).__name__ == "Letters"
    assert (encoder.source, encoder.device) == ("some:where", "cuda:1")
    assert open_encoder("letters").source is None


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("minilm-l7", r"encoder 'minilm-l7' is not installed; installed: .*did you mean 'minilm-l6'\?"),
        ("clip-imaeg:x", r"not installed; .*did you mean 'clip-image'\?"),
        ("clip-image", r"'clip-image': the source of the weights is missing; use clip-image:FOLDER"),
        ("clip-image:", r"use clip-image:FOLDER"),
        ("whisper-base:x", r"omit ':x'"),
        ("broken", r"encoder 'broken' from package '.*': cannot be opened \(RuntimeError: no weights\)"),
        (
            "nothing",
            r"encoder 'nothing' from package '.*': the registered function returned a int, but must return an Encoder",
        ),
        ("absent", r"encoder 'absent' from package '.*' cannot be loaded \(AttributeError"),
        (
            "clip-text:no/such@main",
            r"no/such@main: the download from the Hugging Face Hub failed|needs huggingface_hub",
        ),
        ("clip-text:no/such", r"use no/such@COMMIT"),
        ("clip-text:nowhere", r"encoder 'clip-text': nowhere: no such folder"),
        ("clip-text:./no/where", r"no such folder"),
    ],
)
def test_errors_name_the_cause_in_one_line(reference: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        open_encoder(reference)
    assert "\n" not in str(caught.value)


def test_folders_that_hold_no_safe_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no config\.json"):
        open_encoder(f"clip-image:{tmp_path}")
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(InputError, match=r"contains no \.safetensors file; convert weights in other formats"):
        open_encoder(f"clip-image:{tmp_path}")
