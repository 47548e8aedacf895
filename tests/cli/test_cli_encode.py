"""The command `encode`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from encoding_problems import Files, Letters, write_manifest
from omnidistill.cli.command_list import make_parser
from omnidistill.core.arguments import written_as_options
from omnidistill.core.errors import InputError
from omnidistill.data.store import load_features
from omnidistill.encoding.encoders import encoders
from omnidistill.encoding.encoders.encoder import Encoder
from omnidistill.encoding.manifests.write_manifest import write_manifest as save_manifest
from omnidistill.models.heads import load_heads
from plugins import installed

exact = Letters.prepare


def letters(source: str | None, device: str) -> Encoder:
    return Letters(float(source or 1), device)


def lettered(source: str | None, device: str) -> Encoder:
    return Letters(licence="LETTERS-NC 1.0: not for commercial use")


def sounds(source: str | None, device: str) -> Encoder:
    return Files(projection=True)


@pytest.fixture(autouse=True)
def _encoders() -> Iterator[None]:
    with installed(encoders, {name: f"{__name__}:{name}" for name in ("letters", "lettered", "sounds")}):
        yield


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "media" / "items.csv"
    save_manifest(write_manifest(tmp_path / "media"), path)
    return path


def run(*typed: object) -> None:
    options = make_parser().parse_args(["encode", *map(str, typed)])
    with written_as_options():
        options.command(options)


def test_a_manifest_becomes_a_set(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "media" / "5.bin").write_bytes(b"")
    out = tmp_path / "set"
    run(manifest, "--encoder", "letters:2", "--encoder", "sound=sounds", "-o", out, "--workers", 0, "--no-standardise",
        "--no-centre")  # fmt: skip
    features = load_features(out)
    assert features.split_sizes == {"train": 7, "validation": 2, "test": 2}
    assert torch.equal(features.features["text"][0, :3], torch.full((3,), 2.0))
    assert capsys.readouterr().out.splitlines() == [
        "rows     11 encoded, 1 dropped",
        "bad      row 5, sound: 5.bin: is empty",
        f"set      {out} (text 26 wide, sound 4 wide; train 7, validation 2, test 2)",
        f"heads    {out / 'heads'} (for features that are neither standardised nor centred)",
        f"next     omnidistill distill {out} --size 1 -o RUN",
    ]


def test_a_dry_run_writes_nothing(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(manifest, "--encoder", "letters", "--encoder", "sound=sounds", "-o", tmp_path / "set", "--dry-run",
        "--limit", 8)  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "8 rows; a dry run writes nothing"
    assert [line.split()[:3] for line in lines[1:3]] == [["start", "of", "Python"], ["encode", "16", "items"]]
    assert lines[-1] == "next    the same command without --dry-run"
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["--encoder", "letters"], r"only one encoder is given \(text\)"),
        (
            ["--encoder", "letters", "--encoder", "letters:2"],
            r"modality 'text' already has an encoder; to use another modality .*, write MODALITY=letters:2",
        ),
        (["--encoder", "letters", "--encoder", "sounds"], r"modality 'audio' is not a column of the manifest"),
        (
            ["--encoder", "letters", "--encoder", "sound=sounds", "--limit", 0],
            r"--limit 0: the number of rows must be at least 1",
        ),
        (["--encoder", "leters", "--encoder", "sound=sounds"], r"did you mean 'letters'\?"),
    ],
)
def test_bad_input_is_reported_before_any_work(
    manifest: Path, tmp_path: Path, typed: list[object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run(manifest, "-o", tmp_path / "set", "--workers", 0, *typed)
    assert not (tmp_path / "set").exists()


def test_a_missing_train_split_is_reported_before_any_work(tmp_path: Path) -> None:
    table = tmp_path / "items.jsonl"
    table.write_text('{"id": "a", "split": "test", "text": "abc", "sound:audio": "a.bin"}\n')
    with pytest.raises(InputError, match="split 'train' has no rows"):
        run(table, "--encoder", "letters", "--encoder", "sound=sounds", "-o", tmp_path / "set")


def test_a_licence_is_printed_before_use_and_saved_with_the_set(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []
    monkeypatch.setattr(Letters, "prepare", lambda *given: shown.append(capsys.readouterr().out) or exact(*given))
    licence = "LETTERS-NC 1.0: not for commercial use"
    out = tmp_path / "set"
    run(manifest, "--encoder", "lettered", "--encoder", "sound=sounds", "-o", out, "--workers", 0)
    assert shown[0] == f"licence text: {licence}\n"
    assert json.loads((out / "encoders.json").read_text())["licences"] == {"text": licence}
    assert load_features(out).provenance["licences"] == {"text": licence}


def test_heads_have_the_licence_of_their_encoder(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Files, "licence", "FILES-NC", raising=False)
    out = tmp_path / "set"
    run(manifest, "--encoder", "lettered", "--encoder", "sound=sounds", "-o", out, "--workers", 0)
    assert load_heads(out / "heads", {"sound": 4})[1]["licences"] == {"sound": "FILES-NC"}


def test_resume_continues_an_encoding(manifest: Path, tmp_path: Path) -> None:
    typed = (manifest, "--encoder", "letters", "--encoder", "sound=sounds", "--out", tmp_path / "set", "--workers", 0)
    with pytest.raises(InputError, match=r"--resume: .*set contains no encoding to resume; omit --resume"):
        run(*typed, "--resume")
    assert not (tmp_path / "set").exists()
    run(*typed, "--limit", 9)
    run(*typed, "--resume")
    assert len(load_features(tmp_path / "set")) == 12
