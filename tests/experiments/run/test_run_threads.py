"""The number of threads: small runs do not depend on it, and a run that resumes with another number says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from omnidistill.io.input_files import read_json
from small_runs import Cut, NoteRecorder, Writes, contents, packed, run_distill, small_config

CONFIG = small_config("experts.num_epochs=2", "distill.iterations=3", "distill.num_student_steps=2")


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def tensors(run: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(run).items() if name.endswith(".safetensors")}


def test_a_small_run_has_the_same_bits_with_one_and_two_threads(tmp_path: Path) -> None:
    packed(tmp_path / "SET")
    for threads in (1, 2):
        torch.set_num_threads(threads)
        run_distill(str(tmp_path / "SET"), CONFIG, tmp_path / str(threads))
        assert read_json(tmp_path / str(threads) / "run.json")["versions"]["threads"] == str(threads)
    assert tensors(tmp_path / "1") == tensors(tmp_path / "2")


def test_a_run_that_resumes_with_another_number_of_threads_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed(tmp_path / "SET")
    torch.set_num_threads(2)
    with monkeypatch.context() as patch:
        Writes(patch).cut_before(4)
        with pytest.raises(Cut):
            run_distill(str(tmp_path / "SET"), CONFIG, tmp_path / "RUN")
    notes: dict[int, list[str]] = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        recorder = NoteRecorder()
        with monkeypatch.context() as patch:
            Writes(patch).cut_before(2)
            with pytest.raises(Cut):
                run_distill(str(tmp_path / "SET"), CONFIG, tmp_path / "RUN", resume=True, progress=recorder)
        notes[threads] = [note for note in recorder.notes if "threads" in note]
    assert notes[2] == []
    assert "began with 2 torch threads and resumes with 1" in notes[1][0]
    assert "OMP_NUM_THREADS=2" in notes[1][0]
