"""Merged sets know what the heads of their parts know; sets that do not fit together are refused in one line."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from omnidistill.core.errors import InputError
from omnidistill.data.preprocessing import Preprocessing
from omnidistill.distillation import DistilledSet, Provenance, SetSpec
from omnidistill.distillation.merged_set import concatenated_heads, merged_set
from omnidistill.models.objectives import Hopa, InfoNCE
from omnidistill.models.similarities import Diagonal, FixedIdentity, SharedGroups, Similarity
from omnidistill.models.storages import RowStorage, Storage
from omnidistill.models.storages.coded import CodedStorage
from omnidistill.training.recipes import Recipe, Sgd
from omnidistill.training.recipes.anchor_regression import Anchor
from omnidistill.training.recipes.map_regression import MapRegression

WIDTHS = {"a": 24, "b": 20, "c": 22}
ANCHOR = Anchor(ridges=(0.05, 0.1, 0.2), weight=0.6)
SGD = Sgd(step_sizes=(0.1, 0.1, 0.1), num_steps=8, batch_size=4)


def small_set(
    size: int,
    recipe: Recipe = ANCHOR,
    storage: Storage | None = None,
    similarity: Similarity | None = None,
    seed: int = 0,
    **provenance: object,
) -> DistilledSet:
    """A set of random rows that differ by `seed`."""
    generator = torch.Generator().manual_seed(seed)
    storage, similarity = storage or RowStorage(), similarity or FixedIdentity()
    rows = storage.init({name: torch.randn(size, p, generator=generator) for name, p in WIDTHS.items()})
    tensors = {f"rows/{name}": x for name, x in storage.store(rows).items()}
    shared = similarity.shared_rows(size, storage.num_rows(size))
    tensors |= {f"similarity/{name}": x for name, x in similarity.init(shared, generator).items()}
    spec = SetSpec(WIDTHS, size, storage, similarity, InfoNCE(), recipe)
    return DistilledSet(tensors, spec, Preprocessing.usual(WIDTHS), Provenance(**{"method": "anchor", **provenance}))


def test_a_merged_set_knows_what_its_parts_know() -> None:
    """Outputs of its heads have the inner products of all outputs of the parts, in every pair of modalities."""
    parts = [small_set(6), small_set(9, seed=1)]
    merged, expected = merged_set(parts), concatenated_heads(parts)
    heads = {name: matrix.double() for name, matrix in merged.train().items()}
    assert (merged.size, len(heads["a"])) == (15, 15)
    assert merged.recipe.weight == pytest.approx(0.6)
    for first in WIDTHS:
        for second in WIDTHS:
            torch.testing.assert_close(
                heads[first].mT @ heads[second], expected[first].mT @ expected[second], rtol=1e-3, atol=1e-4
            )


def test_a_merged_set_of_a_given_size_has_the_leading_directions() -> None:
    """Merged with itself, a set has each direction twice; half of the rows are enough."""
    part = small_set(8, Anchor(ridges=(1e-3, 1e-3, 1e-3)))
    merged = merged_set([part, part], size=8)
    once, twice = part.train(), merged.train()
    for name in WIDTHS:
        kernels = [(each[name].mT @ each["a"]).flatten() for each in (once, twice)]
        assert float(torch.cosine_similarity(*kernels, dim=0)) > 0.98
    assert merged_set([part, part]).size == 16
    for size in (1, 17):
        with pytest.raises(InputError, match=f"size={size}: merging these sets gives at most 16 rows"):
            merged_set([part, part], size=size)
    assert merged_set([small_set(12), small_set(12, seed=1)]).size == 22  # not more than the second largest width


def test_rounded_rows_have_ridges_that_suit_them() -> None:
    parts = [small_set(6, storage=CodedStorage(bits=4.0), seed=seed) for seed in (0, 1)]
    merged, expected = merged_set(parts, size=10), concatenated_heads(parts)
    assert merged.spec.storage == CodedStorage(bits=4.0)
    heads = merged.train()
    kernels = [(each["a"].double().mT @ each["b"].double()).flatten() for each in (heads, expected)]
    assert float(torch.cosine_similarity(*kernels, dim=0)) > 0.8


@pytest.mark.parametrize("similarity", [FixedIdentity(), SharedGroups(), Diagonal()])
@pytest.mark.parametrize("views", [1, 2])
def test_rows_of_other_recipes_are_concatenated_and_match_only_within_a_part(
    similarity: Similarity, views: int
) -> None:
    parts = [small_set(n, SGD, RowStorage(views=views), similarity, seed) for seed, n in enumerate((3, 4))]
    merged = merged_set(parts)
    assert merged.recipe == SGD.evolve(num_steps=16)
    for name, rows in merged.rows().items():
        assert len(rows) == 7 * views
        assert torch.equal(rows[:7], torch.cat([part.rows()[name][: part.size] for part in parts]))
    assert torch.equal(merged.similarity(), torch.eye(7 * views))
    with pytest.raises(InputError, match=r"size=5: merging these sets always gives 7 rows, the sum"):
        merged_set(parts, size=5)


def test_a_recipe_that_cannot_be_merged_is_refused_before_the_size() -> None:
    parts = [small_set(4, MapRegression(ridges=(0.1, 0.2, 0.3)), seed=seed) for seed in (0, 1)]
    for size in (None, 5):
        with pytest.raises(InputError, match=r"^sets with the recipe 'map' cannot be merged; distil a new set"):
            merged_set(parts, size=size)


def test_sets_that_do_not_fit_are_one_line() -> None:
    part = small_set(4)
    shifted = {name: mean + 1 for name, mean in part.preprocessing.means.items()}
    narrow = replace(part.spec, modalities={**WIDTHS, "c": 21})
    for other, message in (
        (replace(part, spec=narrow), r"different modalities or widths \(a 24, b 20, c 22; a 24, b 20, c 21\)"),
        (
            replace(part, preprocessing=replace(part.preprocessing, means=shifted)),
            "differ in the means of 'a', 'b', 'c'",
        ),
        (
            replace(part, preprocessing=replace(part.preprocessing, means={})),
            r"differ in whether rows are centred; pack the data of set 2 with the preprocessing of set 1",
        ),
        (small_set(4, SGD), "were distilled in different ways"),
        (replace(part, spec=replace(part.spec, objective=Hopa())), "were distilled in different ways"),
        (
            replace(part, spec=replace(part.spec, objective=part.objective.evolve(tau=0.5))),
            rf"\(recipe 'anchor' and objective 'infonce' tau={part.objective.tau}; .* tau=0\.5\)",
        ),
        (small_set(4, encoders={"a": "other"}), "of different encoders"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            merged_set([replace(part, provenance=Provenance(encoders={"a": "one"})), other])
        assert "\n" not in str(caught.value)


def test_licences_of_all_parts_are_kept() -> None:
    parts = [
        small_set(3, licences=given) for given in ({"x": "MIT"}, {"x": "CC-BY-4.0", "y": "MIT"}, ["CC0-1.0"], None)
    ]
    assert merged_set(parts).provenance.licences == {
        "x": "MIT",
        "x of set 2": "CC-BY-4.0",
        "y": "MIT",
        "part 1 of set 3": "CC0-1.0",
        "set 4": "not recorded",
    }
    assert merged_set([parts[0], parts[0]]).provenance.licences == {"x": "MIT"}
