"""Behaviour that only a separate process shows: closed pipes, limited terminals, interruption and resuming."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from omnidistill.io.artifacts import load_artifact
from omnidistill.io.tracking import JsonlLog, MetricsRecord
from small_runs import SMALL, cli, contents, packed, without_seconds

PROGRAM = (sys.executable, "-m", "omnidistill")


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", **more}


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("distill", "--help"), ("presets",)])
def test_a_closed_pipe_is_quiet(words: tuple[str, ...]) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*PROGRAM, *words], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert done.stderr == ""
    assert done.returncode in ((0, 1) if "--help" in words else (1,))  # argparse ignores errors while it prints


def test_a_terminal_that_cannot_print_every_character(tmp_path: Path) -> None:
    packed(tmp_path / "SET")
    assert cli("distill", tmp_path / "SET", *SMALL, "-o", tmp_path / "RUN").code == 0
    ascii_only = environment(PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C", COLUMNS="40")
    command = [*PROGRAM, "evaluate", str(tmp_path / "RUN"), "--seeds", "2"]
    done = subprocess.run(command, env=ascii_only, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert f"next     omnidistill export {tmp_path / 'RUN'}" in done.stdout


LOADING = """
import os, signal, sys, time
class Swallowing:
    def find_spec(self, name, path, target=None):
        if name == "torch":
            try:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)
            except KeyboardInterrupt:
                print("swallowed", file=sys.stderr)
sys.meta_path.insert(0, Swallowing())
from omnidistill.cli.main import main
sys.exit(main(["inspect", "emoji"]))
"""


def test_sigint_during_the_import_of_torch_ends_the_process() -> None:
    """An extension module that is being imported swallows KeyboardInterrupt or turns it into ImportError."""
    done = subprocess.run([sys.executable, "-c", LOADING], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "omnidistill: interrupted; ended immediately\n")


INTERRUPTED = """
import os, signal, sys
from omnidistill.io.tracking import JsonlLog
log = JsonlLog.log
def logging(self, record):
    log(self, record)
    if record.iteration == 5:
        os.kill(os.getpid(), signal.SIGINT)
JsonlLog.log = logging
from omnidistill.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_run_resumed_after_sigint_gives_the_same_set(tmp_path: Path) -> None:
    """The process sends the signal to itself: from outside, it might come when a short run is over."""
    packed(tmp_path / "SET")
    settings = [*SMALL, "--set", "distill.iterations=20", "--set", "distill.validate_every=0"]
    command = [sys.executable, "-c", INTERRUPTED, "distill", str(tmp_path / "SET"), *settings, "--json"]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "CUT")], env=environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (130, ""), done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].endswith("repeat the command with --resume")
    assert len((tmp_path / "CUT" / "metrics.jsonl").read_text().splitlines()) == 6
    rest = ("distill", tmp_path / "SET", *settings, "--json", "-o")
    again = cli(*rest, tmp_path / "CUT", "--resume")
    assert again.code == 0, again
    assert json.loads(again.out)["output"] == str(tmp_path / "CUT")
    assert cli(*rest, tmp_path / "WHOLE").code == 0
    cut, whole = (without_seconds(contents(tmp_path / name / "distilled")) for name in ("CUT", "WHOLE"))
    assert {name: cut[name] for name in cut if name.endswith(".safetensors")} == {
        name: whole[name] for name in whole if name.endswith(".safetensors")
    }


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_sigterm_and_sighup_save_a_checkpoint_like_ctrl_c(
    number: signal.Signals, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = JsonlLog.log

    def signal_in_the_fifth(metrics: JsonlLog, record: MetricsRecord) -> None:
        log(metrics, record)
        if record.iteration == 5:
            signal.raise_signal(number)

    words = ("distill", packed(tmp_path / "SET"), *SMALL, "--set", "distill.iterations=8", "-o")
    with monkeypatch.context() as patch:
        patch.setattr(JsonlLog, "log", signal_in_the_fifth)
        outcome = cli(*words, tmp_path / "CUT")
    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.err.splitlines()[-1] == (
        f"omnidistill: interrupted by {number.name}; finished work is saved: repeat the command with --resume"
    )
    assert load_artifact(tmp_path / "CUT" / "checkpoint", "checkpoint").meta["iteration"] == 5
    assert cli(*words, tmp_path / "CUT", "--resume").code == cli(*words, tmp_path / "WHOLE").code == 0
    cut, whole = (list((tmp_path / name / "distilled").glob("tensors-*")) for name in ("CUT", "WHOLE"))
    assert [path.name for path in cut] == [path.name for path in whole]  # the names contain the checksums


def test_a_closed_terminal_does_not_hide_the_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After SIGHUP, the terminal cannot be written, so that the progress raises another error."""

    def hung_up(*arguments: object, **settings: object) -> None:
        try:
            signal.raise_signal(signal.SIGHUP)
        finally:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("omnidistill.cli.main._discard_stdout", lambda: None)
    monkeypatch.setattr("omnidistill.api.distill", hung_up)
    assert cli("distill", "emoji", *SMALL, "-o", tmp_path / "RUN").code == 129


def test_an_interrupted_dry_run_saves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(*arguments: object, **settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("omnidistill.experiments.dry_run.estimate_distill", interrupted)
    outcome = cli("distill", "emoji", *SMALL, "-o", tmp_path / "RUN", "--dry-run")
    assert (outcome.code, outcome.err) == (130, "omnidistill: interrupted; a dry run saves nothing\n")


def test_nothing_to_resume_is_not_resumed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With --resume, the repeated command would look for a run and find none."""

    def interrupted(*arguments: object, **settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("omnidistill.api.distill", interrupted)
    outcome = cli("distill", "emoji", *SMALL, "-o", tmp_path / "RUN")
    message = "omnidistill: interrupted before anything was saved: repeat the command\n"
    assert (outcome.code, outcome.err) == (130, message)


def fail(*_: object, **__: object) -> None:
    raise ImportError("libtorch_cpu.so: failed to map segment from shared object")


def refuse(*_: object, **__: object) -> None:
    raise MemoryError("Unable to allocate 7.00 GiB for an array")


@pytest.mark.parametrize(
    ("words", "patched", "advice"),
    [
        (("heads", "emoji", "--set", "heads.width=1000000000", "-o", "HEADS"), None, "a smaller heads.width"),
        (("inspect", "emoji"), ("omnidistill.cli.main._import_torch", fail), "use a machine with more memory"),
        (("inspect", "emoji"), ("omnidistill.cli.main.address_space", lambda: 5e8), "use a machine with more memory"),
        (("pack", "--features", "f.npz", "--table", "t.csv", "-o", "S"), ("numpy.load", refuse), "features as .npy"),
        (("encode", "i.csv", "--encoder", "x", "-o", "S"), ("omnidistill.encoding.extraction.prepare_encoding", refuse),
         "a smaller --batch or --shard, or fewer --workers"),
    ],
    ids=["torch", "import", "too little for torch", "a good file", "encode"],
)  # fmt: skip
def test_out_of_memory_is_reported_in_one_line_with_advice_for_the_command(
    words: tuple[str, ...],
    patched: tuple[str, object] | None,
    advice: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.npz").write_bytes(b"")
    (tmp_path / "t.csv").write_text("id,split\n1,train\n")
    if patched is not None:
        monkeypatch.setattr(*patched)
    outcome = cli(*words)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("omnidistill: out of memory; ")
    assert advice in outcome.err
    assert outcome.err.count("\n") == 1
