"""Runs that make a set of every pair of modalities: what is in them, and that each pair is a run of its own."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from omnidistill.core.errors import InputError
from omnidistill.data.fingerprint import fingerprint
from omnidistill.evaluation.baselines import default_baselines
from omnidistill.evaluation.run_scores import RunScores
from omnidistill.evaluation.validation import run_of
from omnidistill.experiments.config import RunConfig
from omnidistill.experiments.run import heads_fingerprint, open_run, pair_folder, train_experts
from omnidistill.experiments.run_page import run_view
from omnidistill.models.heads import load_heads
from small_runs import (
    Cut,
    Writes,
    cli,
    contents,
    evaluate_run,
    features,
    packed,
    run_distill,
    small_config,
    without_seconds,
)

PAIRS = [("a", "b"), ("a", "c"), ("b", "c")]
CUT_OFFS = {"R@1": 1, "R@5": 5, "R@10": 10}
LEARNED = (
    "experts.num_epochs=2",
    "distill.iterations=2",
    "distill.num_student_steps=2",
    "distill.validate_every=2",
    "distill.checkpoint_seconds=1e-9",
)


def config(*more: str, joint: bool = False) -> RunConfig:
    return small_config(*LEARNED, f"joint={'true' if joint else 'false'}", *more)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed set, and a run of pairs over it that nothing cut."""
    folder = tmp_path_factory.mktemp("made")
    packed(folder / "SET")
    run_distill(str(folder / "SET"), config(), folder / "RUN", command="omnidistill distill ...")
    return folder


@pytest.fixture(scope="module")
def scores(made: Path) -> RunScores:
    shutil.copytree(made / "RUN", made / "SCORED")
    return evaluate_run(open_run(made / "SCORED"), baselines=default_baselines(("random", "cca"))).scores


def results(run: Path) -> dict[str, Any]:
    """Artifacts and metrics of the run and its pairs, without how long they took."""
    files = without_seconds(contents(run))
    return {name: data for name, data in files.items() if not name.endswith(("run.json", "timings.json"))}


def test_what_a_run_of_pairs_leaves(made: Path) -> None:
    """Heads once, and a run in a folder of its own for every pair; no set of all modalities."""
    names = {path.name for path in (made / "RUN").iterdir()}
    assert names == {".lock", "run.json", "timings.json", "heads", "pairs"}
    assert {path.name for path in (made / "RUN" / "pairs").iterdir()} == {"a~b", "a~c", "b~c"}
    run = open_run(made / "RUN")
    assert run.finished
    assert [part.modalities for part in run.parts] == PAIRS
    assert [part.folder for part in run.parts] == [pair_folder(run.folder, pair) for pair in PAIRS]
    for part in run.parts:
        assert part.config == config(joint=True).evolve(modalities=part.modalities)
        left = {path.name for path in part.folder.iterdir()}
        assert left >= {"heads", "experts", "distilled", "metrics.jsonl"}
        assert "checkpoint" not in left
        assert heads_fingerprint(part.heads(features())) == heads_fingerprint(
            {name: run.heads(features())[name] for name in part.modalities}
        )
    assert [found.modalities for found in run.sets()] == PAIRS
    with pytest.raises(InputError, match="has 3 synthetic sets, one per pair of modalities"):
        run.distilled()


@pytest.mark.parametrize("pair", PAIRS)
def test_the_set_of_a_pair_is_that_of_a_run_over_these_modalities(
    pair: tuple[str, str], made: Path, tmp_path: Path
) -> None:
    """From the same heads, over data that have no other modality: bit for bit, experts and log too."""
    packed(tmp_path / "SET", features().only(pair))
    alone = run_distill(
        str(tmp_path / "SET"),
        config(joint=True).evolve(modalities=pair),
        tmp_path / "RUN",
        heads=pair_folder(made / "RUN", pair) / "heads",
    )
    part = next(part for part in open_run(made / "RUN").parts if part.modalities == pair)
    wanted, found = alone.distilled(), part.distilled()
    assert found.tensors.keys() == wanted.tensors.keys()
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in wanted.tensors.items())
    assert (found.recipe, found.provenance) == (wanted.recipe, wanted.provenance)
    assert part.fingerprint == alone.fingerprint == fingerprint(features().only(pair))
    assert (part.folder / "metrics.jsonl").read_bytes() == (alone.folder / "metrics.jsonl").read_bytes()
    heads = load_heads(made / "RUN" / "heads", features().widths)[0]
    assert found.provenance.heads == heads_fingerprint({name: heads[name] for name in pair})


def test_a_method_that_learns_nothing_makes_a_set_of_every_pair_too(made: Path, tmp_path: Path) -> None:
    settings = small_config("joint=false", "distill.kind=covmatch", "distill.size=8", "distill.max_steps=8")
    run = run_distill(str(made / "SET"), settings, tmp_path / "RUN", heads=made / "RUN" / "heads")
    assert [(found.modalities, len(found)) for found in run.sets()] == [(pair, 8) for pair in PAIRS]
    assert run.seconds().keys() == {"heads", "distill"}


def test_two_modalities_have_one_pair(made: Path, tmp_path: Path) -> None:
    settings = config('modalities=["a", "c"]')
    run = run_distill(str(made / "SET"), settings, tmp_path / "RUN", heads=made / "RUN" / "heads")
    (found,) = run.sets()
    wanted = open_run(made / "RUN").sets()[PAIRS.index(("a", "c"))]
    assert run.distilled().modalities == found.modalities == ("a", "c")
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in wanted.tensors.items())


def test_seconds_are_added_over_the_pairs(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "RUN", tmp_path / "RUN")
    assert open_run(tmp_path / "RUN").seconds().keys() == {"heads", "experts", "distill"}
    (tmp_path / "RUN" / "timings.json").write_text(json.dumps({"heads": 1000.0}))
    for k, pair in enumerate(PAIRS):
        times = {"heads": 0.5, "experts": 10.0 * (k + 1), "distill": 1.0 + k}
        (pair_folder(tmp_path / "RUN", pair) / "timings.json").write_text(json.dumps(times))
    assert open_run(tmp_path / "RUN").seconds() == {"heads": 1001.5, "experts": 60.0, "distill": 6.0}


# interruptions


def test_cut_and_resumed_it_ends_as_if_it_had_not_been(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before every twelfth of the writes that put a file in place: in the heads, in every pair, before and after it."""
    writes = Writes(monkeypatch)
    run_distill(str(made / "SET"), config(), tmp_path / "count")
    total = writes.made
    expected = results(made / "RUN")
    for limit in range(6, total - 2, 12):
        folder = tmp_path / f"cut-{limit}"
        writes.cut_before(limit)
        with pytest.raises(Cut):
            run_distill(str(made / "SET"), config(), folder)
        with pytest.raises(InputError, match="not finished"):
            open_run(folder).sets()
        writes.cut_before(0)
        run_distill(str(made / "SET"), config(), folder, resume=True)
        assert results(folder) == expected, f"cut before write {limit} of {total}"
        shutil.rmtree(folder)


def test_pairs_that_are_finished_are_reused(made: Path, tmp_path: Path) -> None:
    """Only the pair that is missing is made again."""
    shutil.copytree(made / "RUN", tmp_path / "RUN")
    shutil.rmtree(pair_folder(tmp_path / "RUN", ("a", "c")))
    kept = {pair: contents(pair_folder(tmp_path / "RUN", pair)) for pair in (("a", "b"), ("b", "c"))}
    assert not open_run(tmp_path / "RUN").finished
    with pytest.raises(InputError, match="resume=True"):
        run_distill(str(made / "SET"), config(), tmp_path / "RUN")
    run_distill(str(made / "SET"), config(), tmp_path / "RUN", resume=True)
    assert all(contents(pair_folder(tmp_path / "RUN", pair)) == files for pair, files in kept.items())
    assert results(tmp_path / "RUN") == results(made / "RUN")


# refusals


@pytest.mark.parametrize("other", [config(joint=True), config("distill.size=11"), config('modalities=["a", "b"]')])
def test_another_run_is_refused(other: RunConfig, made: Path) -> None:
    before = contents(made / "RUN")
    with pytest.raises(InputError, match="another run"):
        run_distill(str(made / "SET"), other, made / "RUN", resume=True)
    assert contents(made / "RUN") == before


def test_given_experts_are_refused(made: Path, tmp_path: Path) -> None:
    """They are of all modalities, or of one pair: no pair could say which of its steps they took."""
    train_experts(made / "SET", config=config(), folder=tmp_path / "EXPERTS", progress=False)
    with pytest.raises(InputError, match=r"experts=.*EXPERTS': with 'joint = false', every pair of modalities trains"):
        run_distill(str(made / "SET"), config(), tmp_path / "RUN", experts=tmp_path / "EXPERTS")
    settings = [argument for setting in (*LEARNED, "heads.width=8", "joint=false") for argument in ("--set", setting)]
    arguments = ("distill", made / "SET", "--preset", "smoke", *settings, "--experts", tmp_path / "EXPERTS")
    outcome = cli(*arguments, "-o", tmp_path / "RUN")
    assert outcome.code == 2
    assert "omit this argument" in outcome.err
    assert not (tmp_path / "RUN").exists()


def test_what_a_pair_cannot_do_is_told_before_anything_is_written(made: Path, tmp_path: Path) -> None:
    """An anchor that is no modality of some pair."""
    with pytest.raises(InputError, match="anchor 'a': the data have no such modality"):
        run_distill(
            str(made / "SET"),
            config("distill.student.kind=pairwise-wbce", "distill.student.anchor=a"),
            tmp_path / "RUN",
        )
    assert not (tmp_path / "RUN").exists()


# scores


def counted(heads: dict[str, torch.Tensor], query: str, gallery: str) -> dict[str, float]:
    """Recall of one direction on the test split by sorting cosines in numpy."""
    test = features().split("test")
    groups, embeddings = np.array(test.groups), {}
    for name in (query, gallery):
        outputs = test.features[name].double().numpy() @ heads[name].double().numpy().T
        embeddings[name] = outputs / np.linalg.norm(outputs, axis=1, keepdims=True)
    order = np.argsort(-(embeddings[query] @ embeddings[gallery].T), axis=1)
    positive = groups[order] == groups[:, None]
    return {at: float(positive[:, :k].any(1).mean()) for at, k in CUT_OFFS.items()}


def test_every_direction_is_scored_by_the_heads_of_its_pair(made: Path, scores: RunScores) -> None:
    """Students of each pair's set, trained and counted again by hand; the mean is over all six directions."""
    run, recall = open_run(made / "SCORED"), scores.to_json()["distilled"]["recall"]
    start, means = run.heads(features()), {at: [] for at in CUT_OFFS}
    assert recall.keys() == {"mean", *("->".join(pair) for pair in itertools.permutations("abc", 2))}
    for found in run.sets():
        _, students = next(found.students(start, seed=0, num_runs=2))
        for query, gallery in itertools.permutations(found.modalities):
            tables = [counted(run_of(students, k), query, gallery) for k in range(2)]
            for at in CUT_OFFS:
                mean = np.mean([table[at] for table in tables])
                assert recall[f"{query}->{gallery}"][at]["mean"] == pytest.approx(mean, abs=1e-9)
                means[at].append(mean)
    for at, values in means.items():
        assert recall["mean"][at]["mean"] == pytest.approx(np.mean(values), abs=1e-9)
    heads = {name: run.sets()[0].train(start, seed=0)[name] for name in ("a", "b")}
    assert not torch.equal(heads["a"], run.sets()[1].train(start, seed=0)["a"])  # every pair has heads of its own


def test_bytes_and_recipes_of_all_pairs_are_told(made: Path, scores: RunScores) -> None:
    run = open_run(made / "SCORED")
    sets = run.sets()
    total = sum(found.bytes for found in sets)
    folders = [part.folder / "distilled" for part in run.parts]
    files = [file for folder in folders for file in folder.iterdir() if file.name not in ("provenance.json", ".lock")]
    assert total == sum(file.stat().st_size for file in files)
    assert scores.bytes.distilled == scores.distilled.bytes == total
    experts = sum(file.stat().st_size for part in run.parts for file in part.folder.glob("experts/*.safetensors"))
    assert scores.bytes.experts == experts > 0
    assert scores.distilled.settings == {
        "num_steps": [found.recipe.num_steps for found in sets],
        "step_sizes": [list(found.recipe.step_sizes) for found in sets],
    }
    assert scores.size == 10
    assert {stage: scores.seconds[stage] for stage in ("heads", "experts", "distill")} == run.seconds()
    assert scores.floor is None
    assert scores.matching_loss is None


def test_the_page_shows_the_instances_of_all_pairs(made: Path, scores: RunScores) -> None:
    run = open_run(made / "SCORED")
    data = run.data()
    shown = run_view(run.result(data), scores, data)
    assert [instance.index for instance in shown.instances] == list(range(30))
    assert [set(instance.traces) for instance in shown.instances] == [set(pair) for pair in PAIRS for _ in range(10)]
    assert [view.sentence[:7] for view in shown.similarities] == [f"{' and '.join(pair)}" for pair in PAIRS]
    assert {row for view in shown.similarities[2:] for i, j, _ in view.pairs for row in (i, j)} <= set(range(20, 30))
    assert list(shown.metrics) == []
    assert "report.html" in {path.name for path in run.folder.iterdir()}
