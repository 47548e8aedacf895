"""The command `completion`: bash runs its script; zsh and fish parse theirs if they are installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from small_runs import cli

_ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 ))
_omnidistill
printf '%s\\n' "${COMPREPLY[@]}"
"""


def completed(script: Path, *words: str) -> set[str]:
    done = subprocess.run(
        ["bash", "--norc", "-c", _ASK, "ask", str(script), "omnidistill", *words],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bash") / "completion"
    path.write_text(cli("completion", "bash").out)
    return path


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_options_and_values(script: Path) -> None:
    assert completed(script, "dis") == {"distill"}
    assert {"demo", "doctor", "cite", "--help"} <= completed(script, "")
    assert completed(script, "distill", "--si") == {"--size"}
    assert "--methods" not in completed(script, "distill", "--")
    assert completed(script, "distill", "SET", "--preset", "reco") == {"recommended"}
    assert "paper-table-5" in completed(script, "compare", "--preset", "paper-table-")
    assert completed(script, "compare", "--methods", "hopa,apm,reco") == {"hopa,apm,recommended"}
    assert "--json" in completed(script, "pack", "--drop-leaks", "--")  # its value is optional
    assert completed(script, "completion", "") == {"bash", "zsh", "fish"}
    assert completed(script, "inspect", "some") == set()  # bash itself completes files


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_registers_the_function_with_files_as_fallback(script: Path) -> None:
    asked = ["bash", "--norc", "-c", 'source "$1"; complete -p omnidistill', "ask", str(script)]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "complete -o default -F _omnidistill omnidistill"


@pytest.mark.parametrize(("shell", "flag"), [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")])
def test_scripts_parse_and_name_every_command(shell: str, flag: str, tmp_path: Path) -> None:
    text = cli("completion", shell).out
    assert all(name in text for name in ("distill", "doctor", "inspect", "cite", "compare"))
    (tmp_path / "script").write_text(text)
    if shutil.which(shell):
        done = subprocess.run([shell, flag, tmp_path / "script"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    for quote in ("'", '"'):
        assert text.count(quote) % 2 == 0


def test_an_unknown_shell_is_rejected() -> None:
    outcome = cli("completion", "tcsh")
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
