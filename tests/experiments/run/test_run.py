"""A run folder: what fills it, what is reused, and that a run cut at any of its writes ends as if it had not been."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from omnidistill.core.errors import InputError
from omnidistill.data.datasets import open_reference
from omnidistill.data.featureset import FeatureSet, prepare
from omnidistill.data.fingerprint import fingerprint
from omnidistill.data.raw import RawFeatures
from omnidistill.experiments.config import RunConfig
from omnidistill.experiments.run import (
    Run,
    given_heads,
    heads_fingerprint,
    load_or_create_heads,
    load_or_train_experts,
    open_or_create_run,
    open_run,
    pretrain_heads,
    train_experts,
    versions,
)
from omnidistill.models.heads import load_heads, save_heads
from omnidistill.training.experts import load_experts
from small_runs import Cut, Writes, contents, features, packed, run_distill, small_config, small_heads, without_seconds

ARTIFACTS = ("heads", "experts", "distilled")
SETTINGS = (
    "experts.num_epochs=2",
    "distill.iterations=3",
    "distill.num_student_steps=2",
    "distill.validate_every=2",
    "distill.checkpoint_seconds=1e-9",
)
CONFIG = small_config(*SETTINGS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed set, and a run over it that nothing cut."""
    folder = tmp_path_factory.mktemp("made")
    packed(folder / "SET")
    run_distill(str(folder / "SET"), CONFIG, folder / "RUN", command="omnidistill distill ...")
    return folder


def results(run: Path) -> dict[str, Any]:
    """Artifacts and metrics, without how long they took."""
    files = without_seconds(contents(run))
    return {name: data for name, data in files.items() if name.split("/")[0] in (*ARTIFACTS, "metrics.jsonl")}


def test_missing_heads_can_be_created_again(made: Path, tmp_path: Path) -> None:
    run = open_run(shutil.copytree(made / "RUN", tmp_path / "RUN"))
    data, heads = run.data(), tmp_path / "RUN" / "heads"
    before = run.heads(data)
    shutil.rmtree(heads)
    with pytest.raises(InputError, match=f"{heads}: the initial heads of this run are missing; .*heads SET -o {heads}"):
        run.heads(data)
    pretrain_heads(data, config=CONFIG, folder=heads, progress=False)
    assert heads_fingerprint(run.heads(data)) == heads_fingerprint(before)


def test_what_a_run_leaves(made: Path) -> None:
    folder = made / "RUN"
    names = {path.name for path in folder.iterdir()}
    assert names == {
        ".lock",
        "run.json",
        "timings.json",
        "floor.json",
        "metrics.jsonl",
        "heads",
        "experts",
        "distilled",
    }
    state = json.loads((folder / "run.json").read_text())
    assert set(state) == {"config", "data", "fingerprint", "modalities", "versions", "command"}
    assert state["command"] == "omnidistill distill ..."
    assert state["data"] == str(made / "SET")
    assert state["versions"] == versions()
    assert set(state["versions"]) > {"omnidistill", "torch", "numpy", "python", "platform", "threads"}
    assert json.loads((folder / "timings.json").read_text()).keys() == {"heads", "experts", "distill"}
    run = open_run(folder)
    assert run.config == CONFIG
    assert run.fingerprint == fingerprint(features())
    assert run.distilled().provenance.config == CONFIG.model_dump(mode="json")
    assert heads_fingerprint(run.heads(features())) == run.distilled().provenance.heads


def test_a_finished_run_is_reused(made: Path) -> None:
    before = contents(made / "RUN")
    distilled = run_distill(str(made / "SET"), CONFIG, made / "RUN", resume=True).distilled()
    assert contents(made / "RUN") == before
    assert len(distilled) == CONFIG.distill.size


def test_cut_at_any_write_and_resumed(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is put in place by one rename: the run is cut before each in turn, the folder left as it is, and
    resumed; artifacts and log must be those of the run that nothing cut."""
    writes = Writes(monkeypatch)
    run_distill(str(made / "SET"), CONFIG, tmp_path / "count")
    total = writes.made
    assert total > 20
    expected = results(made / "RUN")
    for limit in range(1, total + 1):
        folder = tmp_path / f"cut-{limit}"
        writes.cut_before(limit)
        with pytest.raises(Cut):
            run_distill(str(made / "SET"), CONFIG, folder)
        writes.cut_before(0)
        run_distill(str(made / "SET"), CONFIG, folder, resume=True)
        assert results(folder) == expected, f"cut before write {limit} of {total}"
        assert (folder / "floor.json").read_bytes() == (made / "RUN" / "floor.json").read_bytes()
        assert not (folder / "checkpoint").exists()
        shutil.rmtree(folder)


@pytest.mark.parametrize("left", ["manifest.json", "tensors", "nothing"])
def test_killed_while_the_checkpoint_is_removed(
    left: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The set is finished, the checkpoint half gone: the set is reused and the rest cleared."""
    shutil.copytree(made / "RUN", tmp_path / "RUN")
    (tmp_path / "RUN" / "checkpoint").mkdir()
    if left != "nothing":
        (tmp_path / "RUN" / "checkpoint" / left).write_bytes(b"rest of it")
    run_distill(str(made / "SET"), CONFIG, tmp_path / "RUN", resume=True)
    assert contents(tmp_path / "RUN") == contents(made / "RUN")
    assert not (tmp_path / "RUN" / "checkpoint").exists()


def test_resuming_keeps_how_long_the_heads_took(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "RUN", tmp_path / "RUN")
    shutil.rmtree(tmp_path / "RUN" / "distilled")
    timings = json.loads((made / "RUN" / "timings.json").read_text())
    (tmp_path / "RUN" / "timings.json").write_text(json.dumps({**timings, "heads": 1234.5}))
    run = run_distill(str(made / "SET"), CONFIG, tmp_path / "RUN", resume=True)
    assert run.seconds()["heads"] == 1234.5


def test_a_run_that_became_nan_is_not_finished(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails again when resumed; it does not pass for finished because a set lies in its folder."""
    from omnidistill.core.errors import NotFiniteError

    config = small_config("distill.optimiser.rows=1e30")
    for resume in (False, True, True):
        with pytest.raises(NotFiniteError):
            run_distill(str(made / "SET"), config, tmp_path / "RUN", resume=resume)
        with pytest.raises(InputError, match="not finished"):
            open_run(tmp_path / "RUN").distilled()


# heads


def test_heads_are_pretrained_random_or_given(tmp_path: Path) -> None:
    data = features()
    heads = load_or_create_heads(data, CONFIG, tmp_path / "pretrained")
    found, meta = load_heads(tmp_path / "pretrained", data.widths)
    assert all(torch.equal(found[name], heads[name]) for name in heads)
    assert meta["origin"] == "pre-trained on the heads split"
    assert meta["data"] == fingerprint(data)

    without = data.select([row for row, split in enumerate(data.splits) if split != "heads"])
    load_or_create_heads(without, CONFIG, tmp_path / "random")
    assert load_heads(tmp_path / "random", data.widths)[1]["origin"] == "random"

    save_heads(small_heads(data, 5), tmp_path / "mine", {"source": "elsewhere"})
    given = load_or_create_heads(data, CONFIG, tmp_path / "given", given_heads(tmp_path / "mine", data.widths))
    assert all(torch.equal(given[name], small_heads(data, 5)[name]) for name in given)
    meta = load_heads(tmp_path / "given", data.widths)[1]
    assert (meta["origin"], meta["source"]) == ("given", "elsewhere")


def test_heads_that_are_there_are_taken(tmp_path: Path) -> None:
    data = features()
    first = load_or_create_heads(data, CONFIG, tmp_path / "heads")
    before = contents(tmp_path)
    again = load_or_create_heads(data, small_config("heads.num_epochs=1", seed=5), tmp_path / "heads")
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert contents(tmp_path) == before


def test_a_run_without_a_heads_split(tmp_path: Path) -> None:
    data = features()
    packed(tmp_path / "SET", data.select([row for row, split in enumerate(data.splits) if split != "heads"]))
    run = run_distill(str(tmp_path / "SET"), CONFIG, tmp_path / "RUN")
    assert load_heads(run.folder / "heads", data.widths)[1]["origin"] == "random"


# experts made before


def test_experts_made_before_give_the_same_set(made: Path, tmp_path: Path) -> None:
    """By the folder that they were told, or the buffer in it; their heads come with them."""
    train_experts(made / "SET", config=CONFIG, folder=tmp_path / "EXPERTS", progress=False)
    for place in (tmp_path / "EXPERTS", tmp_path / "EXPERTS" / "buffer"):
        run = run_distill(str(made / "SET"), CONFIG, tmp_path / place.name / "RUN", experts=place)
        distilled = run.distilled()
        expected = open_run(made / "RUN").distilled()
        assert all(torch.equal(distilled.tensors[name], expected.tensors[name]) for name in expected.tensors)
        assert heads_fingerprint(run.heads(features())) == expected.provenance.heads
        assert not (run.folder / "experts").exists()


def test_experts_from_given_heads_bring_them(made: Path, tmp_path: Path) -> None:
    """No --heads is needed beside --experts: the students start where the experts did."""
    save_heads(small_heads(features(), 6), tmp_path / "mine", {})
    train_experts(made / "SET", config=CONFIG, folder=tmp_path / "EXPERTS", heads=tmp_path / "mine", progress=False)
    run = run_distill(str(made / "SET"), CONFIG, tmp_path / "RUN", experts=tmp_path / "EXPERTS")
    assert heads_fingerprint(run.heads(features())) == heads_fingerprint(small_heads(features(), 6))


def test_the_set_tells_which_experts_made_it(made: Path, tmp_path: Path) -> None:
    """The run's own [experts] say nothing of a buffer that was given."""
    other = small_config("experts.learning_rate=0.25")
    train_experts(made / "SET", config=other, folder=tmp_path / "EXPERTS", progress=False)
    run = run_distill(str(made / "SET"), CONFIG, tmp_path / "RUN", experts=tmp_path / "EXPERTS")
    distilled = run.distilled()
    assert distilled.provenance.experts["config"]["learning_rate"] == 0.25
    assert load_experts(tmp_path / "EXPERTS" / "buffer").key.seed == distilled.provenance.experts["seed"]


def test_experts_are_of_their_data_and_heads(tmp_path: Path) -> None:
    data = features()
    heads = small_heads(data)
    load_or_train_experts(data, heads, CONFIG, tmp_path)
    with pytest.raises(InputError, match="different identity"):
        load_or_train_experts(features(seed=4), heads, CONFIG, tmp_path)
    with pytest.raises(InputError, match="different identity"):
        load_or_train_experts(data, small_heads(data, seed=1), CONFIG, tmp_path)
    with pytest.raises(InputError, match="different config"):
        load_or_train_experts(data, heads, small_config(*SETTINGS, "experts.learning_rate=0.5"), tmp_path)
    with pytest.raises(InputError, match="different seed"):
        load_or_train_experts(data, heads, small_config(*SETTINGS, seed=1), tmp_path)


# the data


def with_test_rows(data: FeatureSet, seed: int) -> FeatureSet:
    """The same set with other values, names and groups in its test rows."""
    generator = torch.Generator().manual_seed(seed)
    test = torch.tensor([split == "test" for split in data.splits])
    changed = {
        name: torch.where(test[:, None], torch.randn(x.shape, generator=generator), x)
        for name, x in data.features.items()
    }
    renamed = [f"other-{seed}-" if split == "test" else "" for split in data.splits]
    return FeatureSet(
        changed,
        tuple(prefix + name for prefix, name in zip(renamed, data.ids, strict=True)),
        tuple(prefix + name for prefix, name in zip(renamed, data.groups, strict=True)),
        data.splits,
        None,
        data.preprocessing,
        data.provenance,
    )


def test_the_test_split_changes_no_artifact(made: Path, tmp_path: Path) -> None:
    """Heads, experts, set, recipe, manifest, log and fingerprint, byte for byte."""
    packed(tmp_path / "SET", with_test_rows(features(), 1))
    run_distill(str(tmp_path / "SET"), CONFIG, tmp_path / "RUN")
    assert results(tmp_path / "RUN") == results(made / "RUN")
    assert open_run(tmp_path / "RUN").fingerprint == open_run(made / "RUN").fingerprint


def test_centring_takes_nothing_from_the_test_split() -> None:
    """From raw features on: other test rows leave the prepared development rows as they are."""
    raw = RawFeatures(
        {name: x.clone() for name, x in features().features.items()},
        features().ids,
        features().groups,
        features().splits,
        {},
    )
    test = [row for row, split in enumerate(raw.splits) if split == "test"]
    mark = fingerprint(prepare(raw))
    for x in raw.features.values():
        x[test] = x[test] * 3 + 1
    assert fingerprint(prepare(raw)) == mark


def test_the_bundled_set_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_reference("emoji").modalities == ("image", "text", "audio")
    packed(tmp_path / "emoji")
    monkeypatch.chdir(tmp_path)
    assert open_reference("emoji").modalities == ("a", "b", "c")  # a folder of that name comes first


def test_begin_run_says_what_is_wrong(made: Path, tmp_path: Path) -> None:
    def begin(folder: Path, config: RunConfig = CONFIG, data: FeatureSet | None = None, resume: bool = True) -> Run:
        return open_or_create_run(folder, data or features(), config, resume=resume)

    assert begin(made / "RUN").config == CONFIG
    assert begin(made / "RUN", small_config(*SETTINGS, "evaluate.num_seeds=7")).config == CONFIG
    with pytest.raises(InputError, match="another run"):
        begin(made / "RUN", small_config(*SETTINGS, seed=1))
    with pytest.raises(InputError, match="another run"):
        begin(made / "RUN", data=features(seed=1))
    with pytest.raises(InputError, match="resume=True"):
        begin(made / "RUN", resume=False)
    (tmp_path / "something").write_text("")
    with pytest.raises(InputError, match="not empty"):
        begin(tmp_path)
