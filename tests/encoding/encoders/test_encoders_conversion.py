"""`omnidistill convert`: from published files to a folder that encoders open, and what is refused."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from omnidistill.cli.command_list import make_parser
from omnidistill.core.errors import InputError
from omnidistill.encoding.encoders.convert import convert
from omnidistill.encoding.encoders.encoder import Item
from omnidistill.encoding.encoders.encoder_registry import open_encoder
from omnidistill.encoding.encoders.imagebind.imagebind_towers import HUGE
from omnidistill.io.artifacts import load_artifact
from published_problems import TINY_IMAGEBIND, languagebind_folder, languagebind_state, weights, write_vocabulary


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    for modality, size in TINY_IMAGEBIND.items():
        monkeypatch.setitem(HUGE, modality, size)


def run(*typed: object) -> None:
    options = make_parser().parse_args(["convert", *map(str, typed)])
    options.command(options)


def checkpoint(folder: Path, **changes: Any) -> Path:
    folder.mkdir()
    torch.save(weights("imagebind") | changes, folder / "imagebind.pth")
    return folder / "imagebind.pth"


def test_imagebind_becomes_a_folder_that_encoders_open(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = checkpoint(tmp_path / "given"), tmp_path / "deep" / "IB"
    write_vocabulary(file.parent)
    (out.parent / ".omnidistill-temp-0123456789abcdef" / "vision").mkdir(parents=True)  # of a killed conversion
    run("imagebind", file, "-o", out)
    licence, *towers, following = capsys.readouterr().out.splitlines()
    assert "CC-BY-NC 4.0: non-commercial use only" in licence
    assert [line.split()[:2] for line in towers] == [["tower", f"{out / name}"] for name in ("audio", "text", "vision")]
    assert load_artifact(out / "text", "encoder").files[0].sha256[:12] in towers[1]
    references = [f"imagebind-{kind}:{out}" for kind in ("video", "audio", "text")]
    assert following == f"next     omnidistill encode MANIFEST --encoder {' --encoder '.join(references)} -o SET"
    assert sorted(path.name for path in out.iterdir()) == ["audio", "merges.txt", "text", "vision"]
    for reference in references:
        assert open_encoder(reference).head().shape == (8, 16)
    text = open_encoder(references[-1])
    assert text.encode(text.prepare(Item("the sea"))[None]).shape == (1, 1, 16)
    assert [path.name for path in out.parent.iterdir()] == ["IB"]
    checksums = load_artifact(out / "vision", "encoder").files
    other = checkpoint(tmp_path / "other", **{"modality_heads.vision.2.weight": torch.ones(8, 16)})
    run("imagebind", other, "--vocabulary", out / "merges.txt", "-o", out, "--force")
    assert load_artifact(out / "vision", "encoder").files != checksums
    assert len(list(out.rglob("tensors-*"))) == 3


def test_a_vocabulary_of_any_name_is_found(tmp_path: Path) -> None:
    file, given = checkpoint(tmp_path / "given"), write_vocabulary(tmp_path)
    for vocabulary in (given.rename(tmp_path / "my words.txt"), tmp_path / "folder"):
        if vocabulary.suffix == "":
            vocabulary.mkdir()
            shutil.copyfile(tmp_path / "my words.txt", vocabulary / "merges.txt")
        result = convert("imagebind", file, tmp_path / f"from {vocabulary.name}", vocabulary=vocabulary)
        assert result.vocabulary == "merges.txt"
        open_encoder(result.encoders[-1]).prepare(Item("the sea"))


def test_a_vocabulary_replaces_that_of_an_earlier_conversion(tmp_path: Path) -> None:
    file, given, out = checkpoint(tmp_path / "given"), write_vocabulary(tmp_path), tmp_path / "IB"
    convert("imagebind", file, out, vocabulary=given)
    packed = tmp_path / "words.gz"
    packed.write_bytes(gzip.compress(given.read_bytes()))
    assert convert("imagebind", file, out, vocabulary=packed, force=True).vocabulary == "bpe_simple_vocab_16e6.txt.gz"
    assert not (out / "merges.txt").exists()
    open_encoder(f"imagebind-text:{out}").prepare(Item("the sea"))


def test_languagebind_needs_its_modality(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = languagebind_folder(tmp_path / "model", languagebind_state())
    with pytest.raises(
        InputError, match=r"the model's modality is missing; set modality to one of video, image, audio"
    ):
        run("languagebind", source, "-o", tmp_path / "LB")
    vocabulary = write_vocabulary(tmp_path)
    run("languagebind", source, "--modality", "video", "--vocabulary", vocabulary, "-o", tmp_path / "LB")
    assert "MIT" in capsys.readouterr().out.splitlines()[0]
    for kind in ("video", "text"):
        assert open_encoder(f"languagebind-{kind}:{tmp_path / 'LB'}").width == 16


def test_without_a_vocabulary_it_says_what_texts_need(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("imagebind", checkpoint(tmp_path / "given"), "-o", tmp_path / "IB")
    assert f"to encode text, copy CLIP's merges.txt to {tmp_path / 'IB'}" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"contains no CLIP vocabulary; add one of the files merges\.txt"):
        open_encoder(f"imagebind-text:{tmp_path / 'IB'}").prepare(Item("the sea"))


class Opens:
    """Unpickled in full, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (str(self.path), "w")


def test_what_does_not_fit_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    key = "modality_heads.vision.2.weight"
    file = checkpoint(tmp_path / "given", **{key: torch.zeros(8, 17)})
    with pytest.raises(InputError, match=rf"{key}' has dtype float32 and shape \(8, 17\), expected .* \(8, 16\)"):
        convert("imagebind", file, tmp_path / "IB")
    torch.save({key: Opens(tmp_path / "made")}, file)
    with pytest.raises(InputError, match=r"imagebind\.pth: cannot be read as a PyTorch state dict"):
        convert("imagebind", file, tmp_path / "IB")
    with pytest.raises(InputError, match=r"none\.pth: cannot be read .No such file"):
        convert("imagebind", tmp_path / "none.pth", tmp_path / "IB")
    with pytest.raises(InputError, match="omit modality"):
        convert("imagebind", file, tmp_path / "IB", "video")
    (tmp_path / "given" / "merges.txt").write_text("#version\na b\n")
    with pytest.raises(InputError, match=r"merges\.txt: contains 1 BPE merges instead of 48894"):
        convert("imagebind", file, tmp_path / "IB")
    assert [path.name for path in tmp_path.iterdir()] == ["given"]


def test_a_folder_that_exists_is_left_alone(tmp_path: Path) -> None:
    file = checkpoint(tmp_path / "given")
    (tmp_path / "IB").mkdir()
    (tmp_path / "IB" / "mine").touch()
    with pytest.raises(InputError, match=r"IB: is not empty; choose another folder, or use force=True"):
        convert("imagebind", file, tmp_path / "IB")
    shutil.rmtree(tmp_path / "IB")
    (tmp_path / "IB").write_text("mine")
    with pytest.raises(InputError, match="is a file, but the output must be a folder"):
        convert("imagebind", file, tmp_path / "IB")
    with pytest.raises(InputError, match=r"IB/sub: cannot be written \(Not a directory|File exists"):
        convert("imagebind", file, tmp_path / "IB" / "sub")
    assert (tmp_path / "IB").read_text() == "mine"
