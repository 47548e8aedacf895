"""A set with coded rows whose file was altered, with checksums that fit: one line that names the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.data.preprocessing import Preprocessing
from omnidistill.distillation import DistilledSet, SetSpec
from omnidistill.distillation.set_tensors import as_stored
from omnidistill.io.artifacts import load_artifact, save_artifact
from omnidistill.models.objectives import InfoNCE
from omnidistill.models.similarities import FixedIdentity
from omnidistill.models.storages.coded import CodedStorage
from omnidistill.training.recipes.anchor_regression import Anchor

WIDTHS = {"text": 9, "image": 12}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw, folder = torch.Generator().manual_seed(0), tmp_path_factory.mktemp("set")
    spec = SetSpec(WIDTHS, 5, CodedStorage(), FixedIdentity(), InfoNCE(), Anchor(ridges=(0.1, 0.2)))
    rows = {f"rows/{name}": torch.randn(5, p, generator=draw) for name, p in WIDTHS.items()}
    DistilledSet(as_stored(spec.storage, rows), spec, Preprocessing(False, 1e-5, {})).save(folder)
    return folder


def altered(folder: Path, target: Path, change: Callable[[dict[str, Tensor]], object]) -> Path:
    """A copy of the set with other tensors, as a person who knows the format writes it."""
    artifact = load_artifact(folder, "distilled")
    tensors = {name: tensor.clone() for name, tensor in artifact.tensors.items()}
    change(tensors)
    save_artifact(target, "distilled", tensors, artifact.meta)
    return target


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update({"rows/text/code": 255 - t["rows/text/code"]}), "code cannot be decoded|checksum"),
        (lambda t: t.update({"rows/text/code": t["rows/text/code"].float()}), "wrong type or shape"),
        (lambda t: t.update({"rows/image/table": t["rows/image/table"] * 1000}), "more numbers|checksum|decoded"),
        (lambda t: t.update({"rows/image/table": -t["rows/image/table"]}), "table of the code does not fit"),
        (lambda t: t.update({"rows/image/step": t["rows/image/step"][0]}), "steps of image are not finite numbers"),
        (lambda t: t.update({"rows/image/step": t["rows/image/step"][:4]}), r"shape \(4, 15\)"),
        (lambda t: t.update({"rows/image/step": t["rows/image/step"] / 0}), "steps of image are not finite numbers"),
        (lambda t: t.pop("rows/image/table"), "rows?/image|image/table"),
        (lambda t: t.pop("rows/image/step"), "image/step"),
        (lambda t: t.pop("rows/text/code"), "text"),
    ],
)
def test_damage_is_one_line_that_names_the_file(
    folder: Path, tmp_path: Path, change: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    path = altered(folder, tmp_path / "altered", change)
    with pytest.raises(InputError, match=message) as caught:
        DistilledSet.load(path)
    assert str(path) in str(caught.value)
    assert "the file was altered" in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_flipped_bit_of_code_or_table_is_refused_or_harmless(
    folder: Path, tmp_path: Path, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(["rows/text/code", "rows/image/code", "rows/text/table", "rows/image/table"]))

    def flip(tensors: dict[str, Tensor]) -> None:
        place = data.draw(st.integers(0, len(tensors[name]) - 1))
        tensors[name][place] ^= 1 << data.draw(st.integers(0, 7 if name.endswith("code") else 30))

    path = altered(folder, tmp_path / "flipped", flip)
    expected = DistilledSet.load(folder).rows()
    try:
        result = DistilledSet.load(path).rows()
    except InputError as error:
        assert str(path) in str(error)  # noqa: PT017
        return
    assert all(torch.equal(result[name], x) for name, x in expected.items())


def test_a_recipe_for_another_number_of_modalities_is_refused(folder: Path, tmp_path: Path) -> None:
    artifact = load_artifact(folder, "distilled")
    meta = {**artifact.meta, "recipe": {**artifact.meta["recipe"], "ridges": [0.1]}}  # type: ignore[dict-item]
    save_artifact(tmp_path / "altered", "distilled", dict(artifact.tensors), meta)
    with pytest.raises(
        InputError, match=r"manifest\.json: recipe\.ridges has 1 values, but the synthetic set has 2 modalities"
    ):
        DistilledSet.load(tmp_path / "altered")
