"""`render`: media whose features are the rows of a set, their files, and one line for what cannot be rendered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.nn.functional import cosine_similarity

import rendering_problems
from omnidistill.core.errors import InputError
from omnidistill.encoding.encoders.encoder import Item
from omnidistill.encoding.inversion import InversionSettings
from omnidistill.encoding.manifests.manifest import read_manifest
from omnidistill.experiments.rendering import Rendered, render
from omnidistill.experiments.run import open_run
from rendering_problems import Opaque, Squares, Words, encoded
from small_runs import cli, contents

SETTINGS = InversionSettings(num_steps=12, learning_rate=0.1, smoothness=0.0, jitter=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rendering_problems.register()
    return rendering_problems.write_run(tmp_path_factory.mktemp("rendering"))


@pytest.fixture(scope="module")
def rendered(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rendered]:
    return rendering(run, tmp_path_factory.mktemp("rendered") / "DIR")


def rendering(run: Path, folder: Path, **arguments: Any) -> Rendered:
    media = run.parent / "items.csv"
    return render(run, media, folder, **{"rows": 5, "settings": SETTINGS, "progress": False, **arguments})


def test_rendered_pictures_are_closer_to_the_rows_than_any_item(run: Path, rendered: Rendered) -> None:
    """Everything that is reported is computed anew, from the files."""
    distilled, train = open_run(run).distilled(), open_run(run).data().split("train")
    steps, rows, encoder = distilled.preprocessing, distilled.rows(), Squares()
    for row in rendered.content.rows:
        image, text = row.media["image"], row.media["text"]
        raw = encoder.encode(encoder.prepare(Item(rendered.folder / image.content))[None]).mean(1)
        target = rows["image"][row.row][None]
        assert image.cosine == pytest.approx(
            cosine_similarity(steps.apply({"image": raw})["image"], target).item(), abs=1e-5
        )
        assert image.cosine > image.nearest[0].cosine
        assert image.cosine == pytest.approx(image.optimised, abs=0.02)
        cosines = cosine_similarity(train.features["text"], rows["text"][row.row][None])
        assert text.cosine == pytest.approx(cosines.max().item(), abs=1e-5)
        assert text.nearest[0].id == train.ids[int(cosines.argmax())]
    captions = {row.id: row.media["text"] for row in read_manifest(run.parent / "items.csv").rows}
    assert all(row.media["text"].content == captions[row.media["text"].nearest[0].id] for row in rendered.content.rows)


def test_the_rendered_media_can_be_encoded_by_any_encoder(rendered: Rendered, tmp_path: Path) -> None:
    features = rendered.features()
    assert features.ids == tuple(f"row-{row:04d}" for row in range(5))
    own = encoded(rendered.manifest, tmp_path / "SET", centre=False)
    other = encoded(rendered.manifest, tmp_path / "SET2", factor=2.0, centre=False)
    assert own.ids == other.ids == features.ids
    means = features.preprocessing.means
    for name, x in own.features.items():
        torch.testing.assert_close(x - means[name], features.features[name], atol=5e-3, rtol=0)  # float16 in shards
    assert not torch.allclose(own.features["image"], other.features["image"], atol=0.1)


def test_captions_can_be_joined(run: Path, rendered: Rendered, tmp_path: Path) -> None:
    several = SETTINGS.evolve(captions=4)
    joined = rendering(run, tmp_path / "T", modalities=["text"], settings=several, encoders={"text": Words()})
    assert joined.content.encoders == {"text": "words"}
    captions = {row.media["text"] for row in read_manifest(run.parent / "items.csv").rows}
    steps, rows = open_run(run).distilled().preprocessing, open_run(run).distilled().rows()["text"]
    for row, alone in zip(joined.content.rows, rendered.content.rows, strict=True):
        text, nearest = row.media["text"], alone.media["text"]
        assert text.content.startswith(nearest.content)
        assert captions.issuperset(text.content.split(", "))
        read = steps.apply({"text": Words().prepare(Item(text.content))[None]})["text"]
        assert text.cosine == pytest.approx(cosine_similarity(read, rows[row.row][None]).item(), abs=1e-5)
        assert text.cosine >= nearest.cosine
    assert any(", " in row.media["text"].content for row in joined.content.rows)
    assert [row.media["text"] for row in joined.manifest.rows] == [r.media["text"].content for r in joined.content.rows]
    with pytest.raises(InputError, match="modality 'text': the encoder must be given, because the data do not"):
        rendering(run, tmp_path / "U", modalities=["text"], settings=several)


def test_files_sheet_and_page(rendered: Rendered, run: Path) -> None:
    with Image.open(rendered.folder / "sheet.png") as sheet:
        assert sheet.size[0] > 5 * 224
    page = (rendered.folder / "render.html").read_text("utf-8")
    assert page.count("<img") == 10
    assert page.count("<script") == 1  # of the page itself
    assert "Row 4" in page
    assert rendered.content.rows[0].media["text"].content in page
    loaded = Rendered.load(rendered.folder)
    assert loaded.to_json() == rendered.to_json()
    assert "| image | squares | 5 |" in loaded.table()


def test_rows_modalities_and_a_blank_start(run: Path, tmp_path: Path) -> None:
    blank = SETTINGS.evolve(start="blank", num_steps=30, parametrisation="fourier")
    one = rendering(run, tmp_path / "A", rows=[3], modalities=["image"], settings=blank)
    assert [row.row for row in one.content.rows] == [3]
    assert list(one.content.rows[0].media) == ["image"]
    assert one.content.notes == ["Not rendered: text."]
    assert not (tmp_path / "A" / "features").exists()
    again = rendering(run, tmp_path / "B", rows=[3], modalities=["image"], settings=blank)
    assert one.content.rows == again.content.rows  # the same seed


def test_the_command(run: Path, tmp_path: Path) -> None:
    command = ("render", run, "--media", run.parent / "items.csv", "-o", tmp_path / "DIR", "--rows", "2")
    outcome = cli(*command, "--steps", "3")
    assert outcome.code == 0, outcome
    assert f"page     {tmp_path}/DIR/render.html" in outcome.out
    before = contents(tmp_path / "DIR")
    refused = cli(*command)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "DIR: is not empty; choose another folder, or use --force" in refused.err
    assert contents(tmp_path / "DIR") == before
    again = cli(*command, "--steps", "2", "--rows", "1", "--force", "--json")
    assert again.code == 0, again
    tree = json.loads(again.out)
    assert tree["settings"]["num_steps"] == 2
    assert [path.name for path in (tmp_path / "DIR" / "media" / "image").iterdir()] == ["row-0000.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": [99]}, r"rows=\[99\]: the set has \d+ rows"),
        ({"modalities": ["picture"]}, "modalities: the set has no modality 'picture'"),
        ({"encoders": {"sound": "squares"}}, "modality 'sound', which needs no encoder"),
        ({"encoders": {"image": Squares(2.0)}}, "encoder 'squares': recomputed features of 3 items have a median"),
        ({"encoders": {"image": Opaque()}}, "encoder 'opaque' has no gradients with respect to its input"),
        ({"encoders": {"image": "efficientnet-lite9"}}, "encoder 'efficientnet-lite9' is not installed"),
        ({"encoders": {"image": "whisper-tiny-en"}}, "the column contains image, but encoder"),
    ],
)
def test_what_cannot_be_rendered(run: Path, tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        rendering(run, tmp_path / "DIR", **arguments)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "DIR").exists()


def test_manifests_that_do_not_belong_to_the_data(run: Path, tmp_path: Path) -> None:
    lines = (run.parent / "items.csv").read_text().splitlines()
    for name, change, message in (
        ("other", lambda line: line.replace("item ", "thing "), "contains no training item with media of all rendered"),
        ("column", lambda line: line.replace("image", "picture:image"), "has no column for modality 'image'"),
    ):
        path = run.parent / f"{name}.csv"
        path.write_text("\n".join(map(change, lines)))
        with pytest.raises(InputError, match=message):
            render(run, path, tmp_path / "DIR", progress=False)
