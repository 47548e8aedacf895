"""From raw clips and captions to scores, by the command line alone: classes that are planted in pixels, tones and words
are found again, through random encoders and through small real ones.

Six classes, told apart by a bar's colour, its direction, a tone and two words; clips of a class are positives of each
other, so a class is a group, one in each split.
"""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

import tiny_models
from media_files import write_scene
from omnidistill.data.store import load_features
from omnidistill.distillation import DistilledSet
from omnidistill.encoding.manifests.manifest import read_manifest
from omnidistill.encoding.manifests.write_manifest import write_manifest
from omnidistill.experiments.transfer import transfer
from small_runs import Outcome, cli
from transfer_problems import FAST

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
CLASSES = list(product(COLOURS, ("sea", "cat")))
CLIPS = {"train": 2, "validation": 1, "test": 2}  # of each class
QUICK = [
    each
    for setting in (
        "heads.width=16",
        "experts.num_starts=1",
        "experts.batch_size=6",
        "distill.iterations=60",
        "distill.num_student_steps=20",
        "distill.batch_size=6",
        "distill.validate_every=20",
        "evaluate.learning_rates=[0.1, 0.3, 1.0]",
        "evaluate.max_epochs=64",
        "evaluate.num_seeds=2",
        "evaluate.batch_size=6",
    )
    for each in ("--set", setting)
]


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table that `manifest` made of 30 clips and as many captions, with classes as groups."""
    folder = tmp_path_factory.mktemp("clips")
    for split, count in CLIPS.items():
        (folder / split).mkdir()
        for number, (colour, word) in enumerate(CLASSES):
            for clip in range(count):
                place = folder / split / f"{colour}-{word}-{clip}"
                begin = 7 * clip + 3 * len(split)
                write_scene(place.with_suffix(".mp4"), COLOURS[colour], word == "sea", 200 * 1.5**number, begin)
                place.with_suffix(".txt").write_text(f"a picture of the {word} in {colour}")
    made = cli("manifest", folder, "-o", folder / "items.csv")
    assert made.code == 0, made.err
    assert "30 of 30 items can be used: test 12, train 12, validation 6" in made.out
    manifest = read_manifest(folder / "items.csv")
    assert dict(manifest.kinds) == {"video": "video", "audio": "audio", "text": "text"}  # the sound of the videos
    rows = tuple(replace(row, group=row.id.rpartition("-")[0]) for row in manifest.rows)
    write_manifest(replace(manifest, rows=rows), folder / "items.csv", force=True)
    return folder / "items.csv"


@pytest.fixture(autouse=True)
def _nothing_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def found_again(items: Path, encoders: list[str], folder: Path) -> dict[str, float]:
    """R@1 of heads trained on 6 distilled rows, in every direction and on average."""
    named = [part for name in encoders for part in ("--encoder", name)]
    outcome = Outcome(0, "", "")
    for verb in (
        ("encode", items, *named, "--workers", 0, "-o", folder / "SET"),
        ("distill", folder / "SET", "--preset", "recommended", *QUICK, "--size", 6, "-o", folder / "RUN"),
        ("evaluate", folder / "RUN", "--json"),
    ):
        outcome = cli(*verb)
        assert outcome.code == 0, outcome.err
    recall = json.loads(outcome.out)["distilled"]["recall"]
    return {direction: cuts["R@1"]["mean"] for direction, cuts in recall.items()}


def test_random_encoders_of_published_families(items: Path, tmp_path: Path) -> None:
    clip, clap = tiny_models.clip(tmp_path / "clip"), tiny_models.clap(tmp_path / "clap")
    recall = found_again(items, [f"frames-clip:{clip}", f"clap-audio:{clap}", f"clip-text:{clip}"], tmp_path)
    assert recall["mean"] > 2 / 6  # 2 of 12 rows are right: twice as often as by chance
    assert all(once > 1 / 6 for once in recall.values())

    # the same media by another encoder, on which the set is used without being distilled again
    other = tiny_models.clip(tmp_path / "other", width=20)
    named = [part for name in (f"frames-clip:{other}", f"clap-audio:{clap}", f"clip-text:{other}")
             for part in ("--encoder", name)]  # fmt: skip
    assert cli("encode", items, *named, "--workers", 0, "-o", tmp_path / "SET2").code == 0
    table = transfer(
        tmp_path / "RUN", tmp_path / "SET2", settings=FAST, folder=tmp_path / "TABLE", device="cpu", progress=False
    )
    (target,) = table.content.targets
    shown = {row.name: row.recall["R@1"] for row in target.rows}
    assert {"random rows", "mixture, fitted to the set", "nearest item", "map between encoders"} < set(shown)
    assert all(interval is not None and 0 <= interval.mean <= 1 for interval in shown.values())
    assert (tmp_path / "TABLE" / "transfer.html").is_file()


def test_small_encoders_and_their_licences(items: Path, tmp_path: Path) -> None:
    manifest = read_manifest(items)
    few = tuple(row for row in manifest.rows if "-sea-" in row.id)  # a class a colour
    table = items.with_name("few.csv")
    write_manifest(replace(manifest, rows=few), table)
    recall = found_again(table, ["frames-efficientnet-lite2", "whisper-base", "minilm-l6"], tmp_path)
    assert recall["mean"] > 2 / 3  # 2 of 6 rows are right
    licences = load_features(tmp_path / "SET").provenance["licences"]
    assert licences["audio"] == "Whisper base weights, OpenAI, MIT"
    assert DistilledSet.load(tmp_path / "RUN" / "distilled").provenance.licences == licences
    page = (tmp_path / "RUN" / "report.html").read_text("utf-8")
    assert all(licence in page for licence in licences.values())
