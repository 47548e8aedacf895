"""`omnidistill diagnose`: the summary, the files, and one line for what cannot be diagnosed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from small_runs import SMALL, Outcome, cli, contents, packed


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("diagnose")
    assert cli("distill", packed(folder / "SET"), *SMALL, "-o", folder / "RUN").code == 0
    return folder / "RUN"


def refused(outcome: Outcome, *told: str) -> None:
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1), outcome
    for part in told:
        assert part in outcome.err


def test_it_prints_what_holds_and_where_the_files_are(run: Path) -> None:
    outcome = cli("diagnose", run, "--steps", "2")
    assert outcome.code == 0, outcome
    for part in (
        "Lemma 2 (best rank-one Gram matrix): holds.",
        "omega_k = 0 for k >= 2: does not hold.",
        "Complete form of eq. 10: holds in all steps.",
        f"page   {run}/theory/theory.html",
    ):
        assert part in outcome.out
    before = contents(run / "theory")
    refused(cli("diagnose", run), "theory.html: already exists; use --force to replace it")
    assert contents(run / "theory") == before
    again = cli("diagnose", run, "--steps", "1", "--force", "--json")
    assert again.code == 0
    tree = json.loads(again.out)
    assert tree == json.loads((run / "theory" / "theory.json").read_text("utf-8"))
    assert [step["step"] for step in tree["steps"]] == [0]
    assert tree["command"].startswith("omnidistill")
    described = json.loads(cli("inspect", run, "--json").out)["parts"]["theory"]
    facts = described["facts"]
    assert (described["kind"], facts["steps"], facts["real rows"]) == ("theory", 1, "initial")
    (run / "theory" / "theory.json").write_text('{"schema": 1}', "utf-8")
    refused(cli("inspect", run / "theory"), "theory.json: invalid content: field run is missing; run 'omnidistill diag")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--real-rows", "closest"), "--real-rows closest: unknown choice of real rows"),
        (("--steps", "0"), "--steps 0: the number of training steps to measure must be at least 1"),
        (("--data", "gone"), "gone"),
        (("--step", "1"), "unknown option '--step'; did you mean '--steps'?"),
    ],
)
def test_bad_options(run: Path, tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    refused(cli("diagnose", run, "-o", tmp_path / "T", *options), message)
    assert not (tmp_path / "T").exists()


def test_runs_without_a_trajectory(run: Path, tmp_path: Path) -> None:
    refused(cli("diagnose", tmp_path), "not a run folder (no run.json)")
    (tmp_path / "HALF").mkdir()
    (tmp_path / "HALF" / "run.json").write_bytes((run / "run.json").read_bytes())
    refused(cli("diagnose", tmp_path / "HALF"), "the run is not finished; resume it with --resume")
    data = run.parent / "SET"
    anchor = ("--preset", "anchor", "--size", "8", "--set", "heads.width=8", "-o", tmp_path / "ANCHOR")
    assert cli("distill", data, *anchor).code == 0
    refused(cli("diagnose", tmp_path / "ANCHOR"), "recipe 'anchor' with 0 steps", "presets hopa and lors")
