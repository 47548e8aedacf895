"""`--device`: one line for a device that is missing, in every command that computes, and nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from small_runs import SMALL, cli, packed

COMMANDS = ("heads", "experts", "distill", "compare", "encode", "evaluate", "demo")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    packed(folder / "SET")
    (folder / "items.csv").write_text("id,split,text,sound:audio\na,train,one,a.wav\n")
    assert cli("distill", folder / "SET", *SMALL, "--size", 6, "-o", folder / "RUN").code == 0
    return folder


def typed(command: str, made: Path, out: Path) -> tuple[object, ...]:
    match command:
        case "encode":
            encoders = ("--encoder", "minilm-l6", "--encoder", "sound=whisper-base")
            return (command, made / "items.csv", *encoders, "-o", out)
        case "evaluate":
            return (command, made / "RUN")
        case "demo":
            return (command, "-o", out)
        case "compare":
            return (command, made / "SET", "--methods", "apm", "--sizes", 8, "-o", out)
    return (command, made / "SET", *SMALL, "-o", out)


@pytest.mark.parametrize("device", ["gpu", "cuda:77", "mps"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_device_that_is_missing_is_one_line(
    command: str, device: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    before = sorted(made.rglob("*"))
    told = cli(*typed(command, made, tmp_path / "OUT"), "--device", device)
    assert (told.code, told.out) == (2, "")
    (line,) = told.err.splitlines()
    assert line.startswith(f"omnidistill: --device {device}: ")
    assert not (tmp_path / "OUT").exists()
    assert sorted(made.rglob("*")) == before


def test_the_cpu_by_name_gives_the_same_set(made: Path, tmp_path: Path) -> None:
    arguments = ("distill", made / "SET", *SMALL, "--size", 6, "--device", "cpu", "-o", tmp_path / "RUN")
    assert cli(*arguments).code == 0
    if not torch.cuda.is_available():
        files = [(folder / "distilled" / "manifest.json").read_bytes() for folder in (made / "RUN", tmp_path / "RUN")]
        assert files[0] == files[1]
