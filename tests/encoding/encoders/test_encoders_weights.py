from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from omnidistill.core.errors import InputError
from omnidistill.encoding.encoders import weights
from omnidistill.encoding.encoders.weights import model_folder, sha256_of


def test_the_checksum_is_of_every_file_in_order(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"one")
    second.write_bytes(b"two")
    expected = hashlib.sha256(hashlib.sha256(b"one").digest() + hashlib.sha256(b"two").digest()).hexdigest()
    assert sha256_of([first, second]) == expected
    assert sha256_of([second, first]) != expected


def test_the_hub_is_asked_for_safetensors_of_one_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def download(name: str, *, revision: str, allow_patterns: list[str]) -> str:
        asked.update(name=name, revision=revision, allowed=allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr(weights, "require", lambda module, extra: SimpleNamespace(snapshot_download=download))
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert model_folder("openai/clip@0123abc") == tmp_path
    assert (asked["name"], asked["revision"]) == ("openai/clip", "0123abc")
    assert not any(pattern.endswith((".bin", ".py", ".pt", ".pkl", "*")) for pattern in asked["allowed"])


def test_a_hub_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(name: str, **_: object) -> str:
        raise ConnectionError("no\nroute")

    monkeypatch.setattr(weights, "require", lambda module, extra: SimpleNamespace(snapshot_download=download))
    with pytest.raises(InputError, match=r"openai/clip@1: the download from the Hugging Face Hub failed \(no route\)"):
        model_folder("openai/clip@1")
