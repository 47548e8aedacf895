"""The specification of a set: small, complete without the provenance, and readable by earlier and later versions."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.data.preprocessing import Preprocessing
from omnidistill.distillation import DistilledSet, Provenance, SetSpec
from omnidistill.distillation.set_files import PROVENANCE
from omnidistill.distillation.set_tensors import as_stored
from omnidistill.io.artifacts import load_artifact, save_artifact
from omnidistill.models.heads import Heads, random_heads
from omnidistill.models.objectives import Hopa, InfoNCE, Objective, PairwiseWbce, objectives
from omnidistill.models.similarities import Diagonal, FixedIdentity, Full, LowRank, SharedGroups
from omnidistill.models.storages import RowStorage
from omnidistill.training.recipes import Sgd
from omnidistill.training.recipes.anchor_regression import Anchor
from plugins import installed

Json = dict[str, Any]
WIDTHS = {"video": 9, "image": 12, "text": 8, "audio": 7, "depth": 6, "thermal": 10}  # not in alphabetical order
STEPS = (0.92884546518325, 0.93134993314743, 0.93005871772766, 1.20000004768371, 0.55000001192092, 3.09999990463256)
SPEC = SetSpec(
    WIDTHS,
    100,
    RowStorage(bits=4, views=3),
    LowRank(rank=10),
    Hopa(),
    Sgd(step_sizes=STEPS, num_steps=128, batch_size=25, order=2**40),
)


def distilled_set(spec: SetSpec = SPEC) -> DistilledSet:
    """Return a set of random rows whose tensors fit the specification."""
    draw = torch.Generator().manual_seed(0)
    latent = {f"rows/{name}": torch.randn(spec.size, p, generator=draw) for name, p in spec.modalities.items()}
    shared = spec.similarity.shared_rows(spec.size, spec.storage.num_rows(spec.size))
    similarity = {f"similarity/{name}": x for name, x in spec.similarity.init(shared, draw).items()}
    preprocessing = Preprocessing(True, 1e-5, {name: torch.randn(p, generator=draw) for name, p in WIDTHS.items()})
    tensors = as_stored(spec.storage, {**latent, **similarity})
    return DistilledSet(tensors, spec, preprocessing, Provenance(method="HoPA", config={"seed": 0}, data="planted"))


def heads() -> Heads:
    return random_heads(WIDTHS, 4, torch.Generator().manual_seed(1))


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def distilled() -> DistilledSet:
    return distilled_set()


@pytest.fixture
def saved(distilled: DistilledSet, tmp_path: Path) -> Path:
    distilled.save(tmp_path / "set")
    return tmp_path / "set"


def altered(folder: Path, change: Callable[[Json], object]) -> Path:
    """Save the artifact again, with other metadata and a correct checksum."""
    artifact = load_artifact(folder, "distilled")
    meta: Json = json.loads(json.dumps(artifact.meta))
    change(meta)
    tensors = {name: tensor.clone() for name, tensor in artifact.tensors.items()}
    save_artifact(folder, "distilled", tensors, meta)
    return folder


# round trip


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"storage": RowStorage(), "similarity": FixedIdentity(), "objective": InfoNCE(anchor="audio")},
        {"storage": RowStorage(bits=16), "similarity": SharedGroups(), "objective": PairwiseWbce(reduction="plain")},
        {"similarity": Full(), "recipe": Sgd(step_sizes=STEPS, num_steps=0, batch_size=1, momentum=0.9)},
        {"similarity": FixedIdentity(), "recipe": Anchor(ridges=STEPS, cutoff=17.25)},
        {"similarity": Diagonal(), "preprocessing": {"standardise": False, "epsilon": 1e-3, "centred": []}},
    ],
    ids=str,
)
def test_round_trip(changes: Json) -> None:
    spec = replace(SPEC, **changes)
    again = SetSpec.from_json(json.loads(json.dumps(spec.to_json())), "manifest.json")
    assert again == spec
    assert list(again.modalities) == list(WIDTHS)  # the order decides which step size is whose
    assert again.to_json() == spec.to_json()


def test_an_anchor_recipe_without_a_cutoff_counts_all_outputs_alike() -> None:
    """As it was stored before cutoffs existed. The padding makes room for any cutoff."""
    tree = replace(SPEC, recipe=Anchor(ridges=STEPS)).to_json()
    del tree["recipe"]["cutoff"]
    spec = SetSpec.from_json(tree, "manifest.json")
    assert spec.recipe == Anchor(ridges=STEPS)
    other = replace(spec, recipe=Anchor(ridges=STEPS, cutoff=17.25))
    assert len({len(json.dumps(each.to_json())) + each.padding for each in (spec, other)}) == 1


def test_a_saved_set_has_the_specification_as_its_metadata(distilled: DistilledSet, saved: Path) -> None:
    meta = load_artifact(saved, "distilled").meta
    assert meta == replace(SPEC, preprocessing=distilled.preprocessing.to_meta()).to_json()
    loaded = DistilledSet.load(saved)
    assert loaded.spec.to_json() == meta
    assert loaded.modalities == tuple(WIDTHS)
    assert (loaded.size, len(loaded)) == (100, 300)


def test_the_metadata_of_a_realistic_set_takes_at_most_1_kB(saved: Path) -> None:
    """Six modalities, step sizes with all their digits, a learned similarity and the objective with most settings."""
    meta = load_artifact(saved, "distilled").meta
    assert len(json.dumps(meta, separators=(",", ":")).encode()) <= 1000


def test_training_does_not_need_the_provenance(distilled: DistilledSet, saved: Path) -> None:
    assert DistilledSet.load(saved).provenance == distilled.provenance
    (saved / PROVENANCE).unlink()
    loaded = DistilledSet.load(saved)
    assert loaded.provenance == Provenance()
    assert equal(loaded.rows(), distilled.rows())
    assert torch.equal(loaded.similarity(), distilled.similarity())
    for seed in (0, 1):
        assert equal(loaded.train(heads(), seed), distilled.train(heads(), seed))


# later versions


def test_unknown_fields_give_a_warning_and_are_ignored(distilled: DistilledSet, saved: Path) -> None:
    def change(meta: Json) -> None:
        meta["colour"] = {"of": "rows"}
        meta["recipe"]["warm_up"] = 10
        meta["objective"]["margin"] = 0.5

    altered(saved, change)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded = DistilledSet.load(saved)
    where = f"{saved}/manifest.json"
    assert [str(each.message) for each in caught] == [
        f"{where}: field '{name}' is not known to this version of omnidistill and is ignored"
        for name in ("colour", "objective.margin", "recipe.warm_up")
    ]
    assert {each.category for each in caught} == {UserWarning}
    assert loaded.spec.to_json() == replace(SPEC, preprocessing=distilled.preprocessing.to_meta()).to_json()
    assert equal(loaded.train(heads()), distilled.train(heads()))


def test_known_fields_give_no_warning(saved: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DistilledSet.load(saved)


def refusal(folder: Path) -> str:
    """Return the message with which a set is refused, a single line that begins with the file."""
    with pytest.raises(InputError) as caught:
        DistilledSet.load(folder)
    message, where = str(caught.value), f"{folder}/manifest.json: "
    assert "\n" not in message
    assert message.startswith(where)
    return message.removeprefix(where)


def test_a_newer_schema_is_refused(saved: Path) -> None:
    altered(saved, lambda meta: meta.update(schema=2, modalities="in another form"))
    assert refusal(saved) == (
        "the synthetic set has schema version 2, but this version of omnidistill reads only versions up to 1; "
        "upgrade omnidistill"
    )


class Margin(Objective):
    """An objective of another package."""

    width: float = 0.5
    """Width of the margin."""

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return 1e-3 * self.width * outputs.square().sum((-3, -2, -1))

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return 2e-3 * self.width * outputs


def test_a_missing_component_is_named_with_its_package(tmp_path: Path) -> None:
    """The set loads where the package is installed; elsewhere the error says what to install."""
    with installed(objectives, {"margin": f"{__name__}:Margin"}):
        margin = objectives.build({"kind": "margin", "width": 0.25})
        made = distilled_set(replace(SPEC, objective=margin))
        made.save(tmp_path / "set")
        assert DistilledSet.load(tmp_path / "set").spec.objective == margin
        assert equal(DistilledSet.load(tmp_path / "set").train(heads()), made.train(heads()))
    names = ", ".join(objectives.names())
    package = f"install the package '{__name__}', which provides it"
    assert refusal(tmp_path / "set") == f"objective 'margin' is not installed; installed: {names}; {package}"


def test_a_missing_component_without_a_package_is_named_with_the_nearest(saved: Path) -> None:
    altered(saved, lambda meta: meta["similarity"].update(kind="lowrank"))
    names = "identity, low-rank, diagonal, full, groups"
    assert refusal(saved) == (f"similarity 'lowrank' is not installed; installed: {names}; did you mean 'low-rank'?")


# damage


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda meta: meta.update(schema="1"), "field 'schema' is '1', but must be a positive integer"),
        (lambda meta: meta.update(schema=0), "field 'schema' is 0, but must be a positive integer"),
        (lambda meta: meta.update(size=0), "'modalities', 'size' or 'preprocessing' is malformed"),
        (lambda meta: meta.update(size="100"), "'modalities', 'size' or 'preprocessing' is malformed"),
        (lambda meta: meta.pop("size"), "'modalities', 'size' or 'preprocessing' is malformed"),
        (lambda meta: meta.update(modalities=list(WIDTHS)), "'modalities', 'size' or 'preprocessing' is malformed"),
        (lambda meta: meta.update(modalities={"a": 3.5, "b": 2}), "'modalities', 'size' or 'preprocessing'"),
        (lambda meta: meta.pop("preprocessing"), "'modalities', 'size' or 'preprocessing' is malformed"),
        (lambda meta: meta["preprocessing"].pop("standardise"), "preprocessing: 'standardise' is missing"),
        (lambda meta: meta["preprocessing"].update(centred=["smell"]), "preprocessing: 'mean/smell' is missing"),
        *((lambda meta, name=name: meta.pop(name), f"field '{name}' is missing or malformed")
          for name in ("storage", "similarity", "objective", "recipe")),
        (lambda meta: meta["objective"].pop("kind"), "field 'objective' is missing or malformed"),
        (lambda meta: meta["objective"].update(tau_mod=-1.0), "objective.tau_mod = -1.0: Input should be greater than"),
        (lambda meta: meta["recipe"].update(step_sizes="all"), 'recipe.step_sizes = "all": Input should be a valid '),
        (lambda meta: meta["recipe"].pop("num_steps"), "recipe.num_steps = "),
        (lambda meta: meta["storage"].update(bits=5), "storage.bits = 5: Input should be 32, 16, 8, 6, 4, 3 or 2"),
    ],
)  # fmt: skip
def test_damage_is_an_error_that_names_file_and_field(
    change: Callable[[Json], object], message: str, saved: Path
) -> None:
    assert refusal(altered(saved, change)).startswith((message, f"field {message}"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda meta: meta.update(size=99),
            "the rows of video have shape (300, 9), but the specification of the synthetic set requires (297, 9)",
        ),
        (
            lambda meta: meta["modalities"].update(text=9),
            "the rows of text have shape (300, 8), but the specification ",
        ),
        (
            lambda meta: meta["modalities"].update(smell=9),
            "the tensors do not match the specification of the synthetic set ('smell')",
        ),
        (lambda meta: meta["storage"].update(bits=8), "the rows of video have shape (300, 5), but the specification "),
        (
            lambda meta: meta.update(similarity={"kind": "full"}),
            "the tensors do not match the specification of the synthetic set (",
        ),
    ],
)
def test_a_specification_that_does_not_fit_the_tensors_is_refused(
    change: Callable[[Json], object], message: str, saved: Path
) -> None:
    assert refusal(altered(saved, change)).startswith(message)


def test_damage_of_the_provenance_is_an_error_that_names_file_and_field(saved: Path) -> None:
    tree = json.loads((saved / PROVENANCE).read_text("utf-8"))
    (saved / PROVENANCE).write_text(json.dumps({**tree, "notes": 5}), "utf-8")
    with pytest.raises(
        InputError,
        match=rf"{PROVENANCE}: field 'notes' has the value 5, which is of the wrong type; the file was altered, so",
    ):
        DistilledSet.load(saved)


def test_a_truncated_provenance_is_reported_and_not_needed(distilled: DistilledSet, saved: Path) -> None:
    (saved / PROVENANCE).write_text('{"method": ')
    with pytest.warns(UserWarning, match=r"provenance\.json: not valid JSON.*; the artifact is read without this file"):
        loaded = DistilledSet.load(saved)
    assert loaded.provenance == Provenance()
    assert equal(loaded.train(heads()), distilled.train(heads()))
