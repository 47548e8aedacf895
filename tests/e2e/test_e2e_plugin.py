"""The example plug-in, installed into an environment of its own, works in every command that components appear in."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from small_runs import Outcome, features, packed

PLUGIN = Path(__file__).parents[2] / "examples" / "plugin"
QUICK = (
    *("--set", "heads.width=8", "--set", "heads.num_epochs=1", "--set", "evaluate.num_seeds=2"),
    *("--set", "evaluate.max_epochs=2", "--set", "evaluate.learning_rates=[0.3]"),
)
CHOSEN = (*QUICK, "--set", "distill.learning_rates=[0.3]", "--set", "distill.max_steps=16")
LEARNED = (
    *QUICK,
    *("--set", "experts.num_experts=2", "--set", "experts.num_epochs=2", "--set", "experts.batch_size=16"),
    *("--set", "distill.iterations=2", "--set", "distill.validate_every=1", "--set", "distill.similarity.rank=2"),
    *("--set", "distill.num_student_steps=4", "--set", "distill.outer.num_expert_epochs=1"),
    *("--set", "distill.outer.max_start_epoch=2"),
)
Run = Callable[..., Outcome]
WORKER = """
import contextlib, io, json, sys
from omnidistill.cli.main import main

told = sys.stdout
for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(json.loads(line))
    print(json.dumps({"code": code, "out": out.getvalue(), "err": err.getvalue()}), file=told, flush=True)
"""
"""Runs the command lines that it reads, one after the other: only the first waits for the imports."""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment that sees the packages of this one, with the plug-in installed into it."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--system-site-packages", str(folder)], check=True)
    ours, own = sysconfig.get_path("purelib"), next((folder / "lib").glob("python*/site-packages"))
    (own / "parent.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--quiet", "--disable-pip-version-check"]
    python = str(folder / "bin" / "python")
    subprocess.run([sys.executable, "-m", "pip", "--python", python, "install", *offline, str(PLUGIN)], check=True)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a packed SET, in which commands run."""
    folder = tmp_path_factory.mktemp("plugin")
    packed(folder / "SET", features(2))
    return folder


@contextlib.contextmanager
def worker(python: str | Path, folder: Path) -> Iterator[Run]:
    """Runs command lines in a process of this interpreter; fails unless they exit with `code`."""
    with subprocess.Popen(
        [python, "-c", WORKER],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        told, heard = process.stdin, process.stdout

        def run(*arguments: str, code: int = 0) -> Outcome:
            print(json.dumps(arguments), file=told, flush=True)
            done = Outcome(**json.loads(heard.readline()))
            assert done.code == code, done.err
            return done

        yield run  # the process ends with its input


@pytest.fixture(scope="module")
def run(environment: Path, folder: Path) -> Iterator[Run]:
    with worker(environment / "bin" / "python", folder) as run:
        yield run


def distill(run: Run, folder: Path, name: str, *settings: str) -> Path:
    """The run of this name, made when it is not there."""
    if not (folder / name).exists():
        run("distill", "SET", "--size", "8", *settings, "-o", name)
    return folder / name


def with_method(run: Run, folder: Path) -> Path:
    return distill(run, folder, "METHOD", "--preset", "random", *CHOSEN, "--set", "distill.kind=every-kth", *CHOSEN)


def with_objective(run: Run, folder: Path) -> Path:
    return distill(run, folder, "OBJECTIVE", "--preset", "hopa", *LEARNED, "--set", "distill.student=margin")


def test_the_settings_explain_the_components(run: Run) -> None:
    text = run("config", "--explain").out
    assert "distill (kind = every-kth)" in text
    assert "distill.student (kind = margin)" in text
    listed = json.loads(run("presets", "--json").out)["components"]
    assert "margin" in listed["distill.student, experts.objective"]
    assert "every-kth" in listed["distill.kind"]
    assert "scaled" in listed["baselines of a comparison"]
    assert "Cosine above which a pair that does not match costs something." in text


def test_the_method_distils_and_the_set_is_evaluated_and_reported(run: Run, folder: Path) -> None:
    place = with_method(run, folder)
    scores = json.loads(run("evaluate", str(place), "--json").out)
    assert {"distilled", "zero_shot", "full"} <= set(scores["lines"])
    run("report", str(place), "-o", "page.html")
    assert (folder / "page.html").stat().st_size > 10_000


def test_the_objective_trains_students(run: Run, folder: Path) -> None:
    spec = json.loads((with_objective(run, folder) / "distilled" / "manifest.json").read_text())["meta"]
    assert spec["objective"] == {"kind": "margin", "package": "omnidistill-example", "margin": 0.2}


def test_the_comparison_has_all_three(run: Run, folder: Path) -> None:
    text = (PLUGIN / "comparison.toml").read_text().replace("sizes = [20]", "sizes = [8]")
    (folder / "comparison.toml").write_text(text)
    settings = [
        each for setting in CHOSEN if setting != "--set" and "num_seeds" not in setting for each in ("--set", setting)
    ]
    content = json.loads(run("compare", "SET", "--config", "comparison.toml", *settings, "-o", "TABLE", "--json").out)
    rows = {line["label"]: line for line in content["lines"]}
    assert {"every k-th row", "random, margin", "initial heads times 2", "all rows, margin"} <= set(rows)
    assert rows["initial heads times 2"]["recall"] == rows["zero-shot heads"]["recall"]
    assert not any(line["failures"] for line in rows.values())


def test_a_run_cites_what_the_objective_rests_on(run: Run, folder: Path) -> None:
    assert "@inproceedings{margin," in run("cite", str(with_objective(run, folder))).out


def test_the_contract_suites_accept_them(environment: Path, folder: Path) -> None:
    program = (
        "from omnidistill.testing import check_objective; from omnidistill_example.margin import Margin\n"
        "check_objective(Margin()); check_objective(Margin(margin=-0.5))\n"
    )
    done = subprocess.run(
        [str(environment / "bin" / "python"), "-c", program], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_without_the_plugin_one_line_says_what_is_missing(run: Run, folder: Path) -> None:
    place = with_objective(run, folder)
    with worker(sys.executable, folder) as elsewhere:
        for arguments in (("evaluate", str(place)), ("export", str(place), "-o", "rows.npz")):
            lines = elsewhere(*arguments, code=2).err.splitlines()
            assert len(lines) == 1
            assert "objective 'margin' is not installed" in lines[0]
            assert "'omnidistill-example'" in lines[0]
            assert "hopa, pairwise-wbce, infonce" in lines[0]
