"""Trajectories on disk: stored content, errors for damaged files, and bitwise equal results after a resume."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from omnidistill.core.errors import InputError, NotFiniteError
from omnidistill.io.artifacts import exclusive, load_artifact, save_artifact
from omnidistill.training.experts import ExpertBuffer, Start, load_experts, stack_runs, train_epochs, train_experts
from small_runs import contents, features, small_config, small_experts, small_heads, small_start, without_seconds

CONFIG = small_config("experts.num_epochs=4", "distill.outer.num_expert_epochs=2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("experts") / "BUFFER"
    small_experts(made, CONFIG)
    return made


@pytest.fixture
def buffer(folder: Path) -> ExpertBuffer:
    return load_experts(folder)


def test_every_epoch_is_the_training_up_to_it(buffer: ExpertBuffer) -> None:
    """Epoch 0 is the start; snapshots are copies of the heads after each epoch, not views of the current heads."""
    data = features().split("train")
    start = small_heads(data)
    heads = stack_runs(start, CONFIG.experts.num_experts)
    assert (buffer.num_experts, buffer.num_epochs, buffer.modalities) == (2, 4, ("a", "b", "c"))
    for expert in range(2):
        assert all(torch.equal(buffer.heads(expert, 0)[name], start[name]) for name in start)
    epochs = train_epochs(
        CONFIG.experts.objective.bind(data.modalities),
        heads,
        data,
        torch.full((2,), CONFIG.experts.learning_rate),
        batch_size=CONFIG.experts.batch_size,
        num_epochs=4,
        seed=0,
        purpose="experts",
    )
    for epoch in epochs:
        assert all(torch.equal(buffer.snapshots[epoch][name], heads[name]) for name in heads)
    for name in buffer.modalities:
        for epoch in range(4):
            assert not torch.equal(buffer.snapshots[epoch][name], buffer.snapshots[epoch + 1][name])
        assert not torch.equal(buffer.heads(0, 1)[name], buffer.heads(1, 1)[name])


def test_distances_and_spectra_are_those_of_the_snapshots(buffer: ExpertBuffer) -> None:
    assert buffer.squared_distances.shape == (2, 3, 5, 5)
    for m, name in enumerate(buffer.modalities):
        stacked = np.stack([snapshot[name].double().numpy() for snapshot in buffer.snapshots])  # S x E x d x p
        for expert in range(2):
            gaps = stacked[:, None, expert] - stacked[None, :, expert]
            expected = (gaps**2).sum((-2, -1))
            np.testing.assert_allclose(buffer.squared_distances[expert, m].numpy(), expected, rtol=1e-5)
            assert (expected[~np.eye(5, dtype=bool)] > 0).all()
        assert buffer.spectrum_epochs == 2
        assert buffer.spectra[name].shape == (3, 8)
        for first in range(3):
            expected = np.linalg.svd(stacked[first, 0] - stacked[first + 2, 0], compute_uv=False)
            np.testing.assert_allclose(
                buffer.spectra[name][first].numpy(), expected, rtol=1e-6, atol=1e-6 * expected[0]
            )


def test_a_span_longer_than_the_training_is_cut(tmp_path: Path) -> None:
    data = features().split("train")
    made = train_experts(
        [small_start(small_heads(data), CONFIG)], data, CONFIG.experts, tmp_path, seed=0, spectrum_epochs=9
    )
    assert made.spectrum_epochs == 4
    assert made.spectra["a"].shape == (1, 8)


def test_what_is_on_disk(folder: Path, buffer: ExpertBuffer) -> None:
    names = {path.name for path in folder.iterdir()} - {".lock"}
    tensors = {name for name in names if name.startswith("tensors-")}
    assert names - tensors == {"manifest.json", *(f"epoch-{epoch:02d}.safetensors" for epoch in range(5))}
    assert len(tensors) == 1
    assert buffer.key.config == CONFIG.experts.model_dump(mode="json")
    assert buffer.seconds > 0


def mapped(folder: Path) -> set[str]:
    """The snapshots that are mapped into this process."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {Path(line.split(maxsplit=5)[5]).name for line in lines if f"{folder}/epoch-" in line}


def test_an_epoch_is_mapped_while_its_heads_are_in_use_and_no_longer(tmp_path: Path) -> None:
    """Otherwise a run would keep every trajectory that it has read in memory."""
    folder = tmp_path / "BUFFER"
    made = small_experts(folder, CONFIG)
    assert not mapped(folder)
    heads = made.heads(1, 2)
    assert mapped(folder) == {"epoch-02.safetensors"}
    assert heads["b"].untyped_storage().nbytes() == 2 * heads["b"].nbytes  # a view of both experts, not a copy of one
    del heads
    assert not mapped(folder)


def test_a_finished_buffer_is_taken_as_it_is(folder: Path) -> None:
    before = contents(folder)
    again = small_experts(folder, CONFIG)
    assert contents(folder) == before
    assert again.num_epochs == 4


def test_what_a_crash_after_the_last_file_left_is_removed(folder: Path) -> None:
    before = contents(folder)
    (folder / "progress.json").write_text("{}")
    small_experts(folder, CONFIG)
    assert contents(folder) == before


def test_a_finished_buffer_is_read_while_others_read_it(folder: Path) -> None:
    """Runs of a comparison share a buffer, so one must not fail while another opens it."""
    with exclusive(folder):
        assert small_experts(folder, CONFIG).num_epochs == 4


@pytest.mark.parametrize("done", ["finished", "interrupted"])
@pytest.mark.parametrize(("overrides", "seed", "told"), [(("experts.batch_size=20",), 0, "config"), ((), 1, "seed")])
def test_the_buffer_of_another_run_is_refused(
    done: str, overrides: tuple[str, ...], seed: int, told: str, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "BUFFER")
    if done == "interrupted":
        interrupt(tmp_path / "BUFFER", 2)
    before = contents(tmp_path)
    other = small_config("experts.num_epochs=4", "distill.outer.num_expert_epochs=2", *overrides)
    with pytest.raises(InputError, match=f"another run .different {told}"):
        small_experts(tmp_path / "BUFFER", other, seed=seed)
    assert contents(tmp_path) == before


def test_another_identity_is_refused(tmp_path: Path) -> None:
    data = features().split("train")
    starts = [small_start(small_heads(data), CONFIG)]
    train_experts(starts, data, CONFIG.experts, tmp_path, seed=0, identity={"data": "one"})
    with pytest.raises(InputError, match="different identity"):
        train_experts(starts, data, CONFIG.experts, tmp_path, seed=0, identity={"data": "other"})


# interruptions


def interrupt(folder: Path, epochs: int) -> None:
    """Change a finished buffer to its state after this number of epochs."""
    meta = json.loads((folder / "manifest.json").read_text())["meta"]
    state = {"key": meta["key"], "files": meta["files"][: epochs + 1], "seconds": 5.0}
    (folder / "progress.json").write_text(json.dumps(state))
    for path in [folder / "manifest.json", *folder.glob("tensors-*"), *sorted(folder.glob("epoch-*"))[epochs + 1 :]]:
        path.unlink()


KILLED = """
import os, signal, sys
from pathlib import Path
import omnidistill.training.experts.{module} as module
from small_runs import small_config, small_experts

written, save = 0, module.{function}
def killing(*arguments):
    global written
    written += 1
    if written == {call} and {before}:
        os.kill(os.getpid(), signal.SIGKILL)
    result = save(*arguments)
    if written == {call}:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
module.{function} = killing
small_experts(Path(sys.argv[1]), small_config("experts.num_epochs=4", "distill.outer.num_expert_epochs=2"))
"""


@pytest.mark.parametrize(
    ("function", "call", "before"),
    [("write_tensors", 1, True), ("write_atomic", 2, False), ("write_atomic", 4, True), ("save_artifact", 1, True)],
    ids=["before its first file", "after epoch 1", "epoch 3 not yet told", "before the manifest"],
)
def test_killed_and_continued_is_as_uninterrupted(
    function: str, call: int, before: bool, folder: Path, tmp_path: Path
) -> None:
    module = "buffer" if function == "save_artifact" else "snapshots"
    program = KILLED.format(module=module, function=function, call=call, before=before)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "BUFFER")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    with pytest.raises(InputError):
        load_experts(tmp_path / "BUFFER")
    small_experts(tmp_path / "BUFFER", CONFIG)
    assert without_seconds(contents(tmp_path / "BUFFER")) == without_seconds(contents(folder))


def test_finished_epochs_are_not_trained_again(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "BUFFER")
    interrupt(tmp_path / "BUFFER", 3)
    stamps = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "BUFFER").glob("epoch-*")}
    assert len(stamps) == 4
    again = small_experts(tmp_path / "BUFFER", CONFIG)
    assert all((tmp_path / "BUFFER" / name).stat().st_mtime_ns == stamp for name, stamp in stamps.items())
    assert again.seconds > 5.0  # those of the part before count


@pytest.mark.parametrize("rate", [float("inf"), 1e38, 1e25])
def test_experts_that_diverge_keep_their_finished_epochs(rate: float, tmp_path: Path) -> None:
    """Also where weights are finite but their squares, which distances and spectra need, are not."""
    data = features().split("train")
    with pytest.raises(NotFiniteError, match=r"experts: heads of '.' became NaN or Inf in epoch"):
        train_experts([Start(small_heads(data), rate, 4)], data, CONFIG.experts, tmp_path, seed=0)
    assert (tmp_path / "epoch-00.safetensors").is_file()
    assert not (tmp_path / "manifest.json").exists()


# damage


@pytest.mark.parametrize("epoch", [0, 4])
@pytest.mark.parametrize("damage", ["altered", "shortened", "missing"])
def test_a_damaged_epoch_is_refused_by_name(epoch: int, damage: str, folder: Path, tmp_path: Path) -> None:
    """One bit of one weight, the length unchanged, is enough."""
    shutil.copytree(folder, tmp_path / "BUFFER")
    path = tmp_path / "BUFFER" / f"epoch-{epoch:02d}.safetensors"
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(data[:-1] + (bytes([data[-1] ^ 1]) if damage == "altered" else b""))
    with pytest.raises(InputError, match=path.name):
        load_experts(tmp_path / "BUFFER")


@pytest.mark.parametrize("entry", ["own", "files", "modalities"])
def test_a_manifest_of_another_version_is_refused(entry: str, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "BUFFER")
    found = load_artifact(tmp_path / "BUFFER", "experts")
    meta = {name: value for name, value in found.meta.items() if name != entry}
    save_artifact(tmp_path / "BUFFER", "experts", found.tensors, meta)
    with pytest.raises(
        InputError, match=f"is damaged, or was written by another version .*KeyError: '{entry}'.; delete the folder"
    ):
        load_experts(tmp_path / "BUFFER")


@pytest.mark.parametrize("damage", ["altered", "shortened", "missing"])
def test_a_damaged_epoch_is_not_gone_on_from(damage: str, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "BUFFER")
    interrupt(tmp_path / "BUFFER", 2)
    path = tmp_path / "BUFFER" / "epoch-02.safetensors"
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(data[:-1] + (bytes([data[-1] ^ 1]) if damage == "altered" else b""))
    with pytest.raises(InputError, match=path.name):
        small_experts(tmp_path / "BUFFER", CONFIG)


@pytest.mark.parametrize(
    "text", ["{}", '{"key": 1, "files": [], "seconds": 1}', '{"key": {}, "files": [{}], "seconds": 1}']
)
def test_a_damaged_progress_file_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "progress.json").write_text(text)
    with pytest.raises(InputError, match=r"progress\.json|another run"):
        small_experts(tmp_path, CONFIG)
