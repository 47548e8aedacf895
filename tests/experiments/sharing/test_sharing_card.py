"""What the card says, and that the hub can read its front matter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from omnidistill.evaluation.intervals import Interval
from omnidistill.evaluation.run_scores import Recall, RowScores, RunBytes, RunData, RunScores
from omnidistill.experiments.sharing.card import card
from omnidistill.experiments.sharing.licences import licence_of
from omnidistill.models.similarities import FixedIdentity
from omnidistill.models.storages import RowStorage
from omnidistill.training.recipes.anchor_regression import Anchor
from sharing_problems import small_set

GAINS = {"distilled": {"R@1": Interval(0.9, 0.8, 1.0)}}
SCORES = RunScores(
    method="hopa",
    size=6,
    versions={},
    data=RunData(name="planted", widths={"a": 4, "b": 4}, rows={"train": 9, "test": 9}),
    floor=None,
    matching_loss=None,
    seconds={},
    bytes=RunBytes(features=288, experts=0, distilled=192),
    num_seeds=10,
    rows={
        name: RowScores(
            label=f"{name} | label",
            recall={"mean": {at: Recall(mean=value) for at in ("R@1", "R@5", "R@10")}},
            gain_retained=GAINS.get(name),
        )
        for name, value in {"zero_shot": 0.1, "cca": 0.3, "distilled": 0.5125, "full": 0.6}.items()
    },
)


def made(scores: RunScores | None = None, command: str = "", **provenance: Any) -> tuple[dict[str, Any], str]:
    distilled = small_set(**provenance)
    text = card("someone/name", distilled, licence_of(distilled.provenance.to_json()), scores, command, heads=True)
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body


def test_the_front_matter() -> None:
    front, _ = made(licences={"a": "CC-BY-NC-4.0"})
    assert front == {
        "license": "cc-by-nc-4.0",
        "pretty_name": "name",
        "size_categories": ["n<1K"],
        "tags": ["omnidistill", "dataset-distillation", "multimodal", "features", "a", "b"],
        "configs": [{"config_name": "default", "data_files": "rows.parquet"}],
    }
    assert made()[0]["license_name"] == "apache-2.0-and-cc-by-4.0"


@pytest.mark.parametrize("name", ['a "quoted": text\n---\nlicense: mit', "ünï | code"])
def test_texts_from_elsewhere_stay_text(name: str) -> None:
    distilled = small_set(name=name, notes=(name,), encoders={"a": {"name": name}})
    text = card("someone/name", distilled, licence_of(distilled.provenance.to_json()))
    assert text.count("\n---\n") == 1
    assert " ".join(name.split()).replace("|", "\\|") in text


def test_scores_command_and_licences_are_told() -> None:
    command = "omnidistill distill SET --size 6 -o RUN"
    _, body = made(
        SCORES, command.replace("SET", "/home/someone/SET"), encoders={"a": {"name": "encoder-a", "licence": "MIT"}}
    )
    assert "| distilled \\| label | 51.2 | 51.2 | 51.2 | 90 % [80, 100] |" in body
    assert "| zero_shot \\| label | 10.0 | 10.0 | 10.0 |  |" in body
    assert "| cca \\| label | 30.0 | 30.0 | 30.0 |  |" in body  # every baseline that was scored
    assert f"    {command}\n" in body
    assert "| drawings | Apache-2.0 |" in body
    assert "| encoder of a | MIT |" in body
    assert "* a: encoder-a" in body
    assert "Non-commercial" not in body
    assert "Scores" not in made()[1]
    assert "**Non-commercial use only**" in made(licences={"a": "CC-BY-NC-4.0"})[1]


def test_stored_rows_are_counted_not_their_views() -> None:
    distilled = small_set()
    views = replace(distilled.spec, storage=RowStorage(views=3), similarity=FixedIdentity())
    text = card("someone/name", replace(distilled, spec=views), licence_of(distilled.provenance.to_json()))
    assert "6 synthetic rows (18 to train on, with their sign views) for training" in text
    assert "6 synthetic rows for training" in made()[1]


def test_a_set_that_needs_no_initial_heads_is_trained_without() -> None:
    distilled = small_set()
    for weight in (0.7, 1.0):
        anchored = distilled.with_recipe(Anchor(ridges=(0.1, 0.2), weight=weight))
        text = card("someone/name", anchored, licence_of(anchored.provenance.to_json()), heads=True)
        assert "trained = distilled.train(width=12)\n" in text
        assert "load_heads" not in text
        assert "Recipe: ridge regression to anchors, ridges 0.1, 0.2" in text
    assert "distilled.train(start)\n" in made()[1]
    assert "load_heads" in made()[1]


def test_control_characters_are_shown_in_the_card() -> None:
    hostile = "\x1b[2J\u202e\ud800\x9b"
    _, body = made(name=hostile, notes=(hostile,), licences={hostile: "MIT"})
    assert not set("\x1b\u202e\ud800\x9b") & set(body)
    assert "\\u001b[2J\\u202e\\ud800\\u009b" in body


def test_scores_at_other_levels_than_the_usual() -> None:
    rows = {name: row.evolve(recall={"mean": {"R@50": Recall(mean=0.5)}}) for name, row in SCORES.rows.items()}
    _, body = made(SCORES.evolve(rows=rows))
    assert "| row | R@50 | gain retained, R@50 |" in body
