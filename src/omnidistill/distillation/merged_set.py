"""Merge synthetic sets of the same modalities into one set, without the data that they were distilled from.

**Recipe "anchor".** It computes the heads of a set by ridge regression to anchors (targets that all modalities share).
Different sets have different anchors. A regression on all rows together would therefore not give good heads. Instead,
the heads of all sets are concatenated, and rows are computed that give the concatenated heads.

Let W_sm be the head of set s for modality m, N_s the number of rows of the set, and u_sm the mean length of the outputs
of W_sm on these rows. The concatenated head H_m consists of the blocks

    sqrt(N_s / sum_t N_t) W_sm / u_sm        for all sets s

The N rows of the merged set are computed as follows:

1. Apply the heads H_m to the rows of all sets, with row i of each set divided by sqrt(i).
2. Compute the canonical directions of these outputs. The first N of them are the columns of Q.
3. The rows are the transposed pseudo-inverse of Q^T H_m. From these rows, the recipe computes the heads Q^T H_m.

**Recipe "sgd".** The rows of all sets are concatenated. Rows of different sets do not match. The number of training
steps is the sum over all sets.

Sets with any other recipe cannot be merged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float64
from torch import Tensor

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError
from omnidistill.core.json_value import Json
from omnidistill.distillation.distilled_set import DistilledSet
from omnidistill.distillation.provenance import Provenance
from omnidistill.distillation.set_tensors import as_stored
from omnidistill.models.heads import Heads, project
from omnidistill.models.similarities import FixedIdentity, Full, SharedGroups, Similarity
from omnidistill.models.storages import Storage
from omnidistill.training.closed_form.anchor_map import anchor_maps, canonical_basis_of_outputs, dual_frame
from omnidistill.training.recipes import Recipe, Sgd
from omnidistill.training.recipes.anchor_regression import Anchor, unit_length

_RIDGES = (1e-6, 1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0)


def merged_set(sets: Sequence[DistilledSet], size: int | None = None) -> DistilledSet:
    """Return one synthetic set that combines the information in several sets.

    Args:
        sets: two or more sets of the same modalities, widths, preprocessing, recipe and objective.
        size: number of rows N of the result. None selects the largest possible number (see `most_rows`), which is the
            only possible number for the recipe "sgd".

    Raises:
        InputError: the sets have different modalities, widths, preprocessing, encoders, recipes or objectives; their
            recipe is neither "anchor" nor "sgd"; or the result cannot have this number of rows.
    """
    check_mergeable(sets)
    if isinstance(sets[0].recipe, Anchor):
        return _merged_anchor(sets, size)
    return _concatenated(sets, size)


def check_mergeable(sets: Sequence[DistilledSet]) -> None:
    """Check that the sets have the same modalities, widths, preprocessing, encoders, recipe and objective.

    Raises:
        InputError: two sets differ. The message names the first difference.
    """
    first, where = sets[0], "the sets cannot be merged"
    for number, other in enumerate(sets[1:], start=2):
        which = f"set 1 and set {number}"
        if first.spec.modalities != other.spec.modalities:
            raise InputError(
                f"{where}: {which} have different modalities or widths ({_listed(first)}; {_listed(other)}); merge "
                "sets whose features come from the same encoders"
            )
        if difference := first.preprocessing.difference(other.preprocessing):
            raise InputError(
                f"{where}: {which} need the same preprocessing, but differ in {difference}; pack the data of set "
                f"{number} with the preprocessing of set 1 (pack --like SET), and distil them again. If only the means "
                f"differ, you can instead add the data of set {number} to the run of set 1 (distill --add NEW "
                "--from RUN)"
            )
        encoders = first.provenance.encoders, other.provenance.encoders
        if all(encoders) and encoders[0] != encoders[1]:
            raise InputError(
                f"{where}: {which} were distilled from features of different encoders; merge sets whose features come "
                "from the same encoders"
            )
        if first.recipe.kind != other.recipe.kind or first.objective != other.objective:
            raise InputError(
                f"{where}: {which} were distilled in different ways ({_method(first, other)}; "
                f"{_method(other, first)}); distil both sets with the same recipe, the same objective and the same "
                "settings of the objective"
            )


def _method(distilled: DistilledSet, other: DistilledSet) -> str:
    """Return the recipe and objective of a set, with those settings of the objective in which another set differs."""
    mine, theirs = (each.objective.model_dump(mode="json") for each in (distilled, other))
    text = f"recipe '{distilled.recipe.kind}' and objective '{distilled.objective.kind}'"
    if distilled.objective.kind != other.objective.kind:
        return text
    return " ".join([text, *(f"{name}={value}" for name, value in mine.items() if value != theirs[name])])


def most_rows(sets: Sequence[DistilledSet]) -> int:
    """Return the largest number of rows that the merged set can have.

    This is the total number of rows of all sets. For the recipe "anchor", a larger total is reduced to the second
    largest feature width, because no pair of modalities has more canonical directions. With the feature widths 768, 512
    and 256, this is 512.
    """
    total = sum(distilled.size for distilled in sets)
    if not isinstance(sets[0].recipe, Anchor):
        return total
    return min(total, sorted(sets[0].spec.modalities.values())[-2])


def concatenated_heads(sets: Sequence[DistilledSet]) -> Heads:
    """Return heads whose outputs are the weighted and concatenated outputs of the heads of all sets.

    The recipe "anchor" computes the heads of each set. Their outputs are divided by their mean length on the rows of
    the set, and multiplied by the square root of the set's share of all rows (H_m in the module docstring).
    """
    total = sum(distilled.size for distilled in sets)
    parts: dict[str, list[Tensor]] = {name: [] for name in sets[0].modalities}
    for distilled in sets:
        rows, heads = distilled.rows(), distilled.train()
        for name, each in parts.items():
            exact = unit_length(heads[name].double(), rows[name].double())
            each.append((distilled.size / total) ** 0.5 * exact)
    return {name: torch.cat(each) for name, each in parts.items()}


def _merged_anchor(sets: Sequence[DistilledSet], size: int | None) -> DistilledSet:
    first, heads, most = sets[0], concatenated_heads(sets), most_rows(sets)
    if size is not None and not 2 <= size <= most:
        raise InputError(
            f"{argument('size', size)}: merging these sets gives at most {most} rows; choose a size from 2 to {most}, "
            "or distil a new set from the data of all sets together"
        )
    basis = canonical_basis_of_outputs(project(heads, _falling_rows(sets)))[:, : size or most]
    heads = {name: basis.mT @ matrix for name, matrix in heads.items()}
    storage = first.spec.storage
    latent, ridges = _dual_rows(heads, storage)
    weights = [distilled.recipe.weight for distilled in sets if isinstance(distilled.recipe, Anchor)]
    assert isinstance(first.recipe, Anchor)
    recipe = first.recipe.evolve(ridges=ridges, weight=sum(weights) / len(weights))
    return _as_set(sets, storage, latent, FixedIdentity(), {}, recipe)


def _falling_rows(sets: Sequence[DistilledSet]) -> dict[str, Float64[Tensor, "n _"]]:
    """Return the rows of all sets, with row i of a set divided by sqrt(i), followed by the negatives of these rows.

    Row i of a set determines output i of its heads. On real rows, this output varies less as i increases, so later rows
    get less weight. The negatives make the mean zero without centring. Centring N rows would lose one of their N
    directions.
    """
    scales = torch.cat([torch.arange(1, distilled.size + 1, device="cpu").double().rsqrt() for distilled in sets])
    rows = {}
    for name in sets[0].modalities:
        scaled = scales.unsqueeze(1) * torch.cat([distilled.rows()[name].double() for distilled in sets])
        rows[name] = torch.cat([scaled, -scaled])
    return rows


def _dual_rows(
    heads: Mapping[str, Float64[Tensor, "N _"]], storage: Storage
) -> tuple[dict[str, Tensor], tuple[float, ...]]:
    """Return rows and ridges from which the recipe "anchor" computes heads that are close to the given heads.

    The rows are latent, that is, not yet rounded by the storage. For each modality, every candidate ridge in `_RIDGES`
    is tried. The function returns the ridge that gives the head with the largest cosine similarity to the given head.
    """
    latent = storage.init({name: x.float() for name, x in dual_frame(heads).items()})
    rows = {name: x.double() for name, x in storage.expand(latent).items()}

    def cosine(name: str, ridge: float) -> float:
        result = anchor_maps({name: rows[name]}, (ridge,))[name]
        return float(torch.cosine_similarity(result.flatten(), heads[name].flatten(), dim=0))

    return latent, tuple(max(_RIDGES, key=lambda ridge: cosine(name, ridge)) for name in heads)


def _concatenated(sets: Sequence[DistilledSet], size: int | None) -> DistilledSet:
    first, total = sets[0], sum(distilled.size for distilled in sets)
    if not isinstance(first.recipe, Sgd):
        raise InputError(
            f"sets with the recipe '{first.recipe.kind}' cannot be merged; distil a new set from the data of all sets "
            "together"
        )
    if size not in (None, total):
        raise InputError(
            f"{argument('size', size)}: merging these sets always gives {total} rows, the sum of their sizes; omit "
            "the size, or distil a new set from the data of all sets together"
        )
    storage = first.spec.storage
    rows = {
        name: torch.cat([distilled.rows()[name][: distilled.size] for distilled in sets]) for name in first.modalities
    }
    similarity, tensors = _block_similarity(sets, storage.num_rows(total) // total)
    recipe = first.recipe.evolve(num_steps=sum(distilled.recipe.num_steps for distilled in sets))
    return _as_set(sets, storage, storage.init(rows), similarity, tensors, recipe)


def _block_similarity(sets: Sequence[DistilledSet], num_views: int) -> tuple[Similarity, dict[str, Tensor]]:
    """Return the target similarity of concatenated rows. It is block diagonal: rows of different sets do not match."""
    kinds = {type(distilled.spec.similarity) for distilled in sets}
    if kinds == {FixedIdentity}:
        return FixedIdentity(), {}
    if kinds == {SharedGroups}:
        codes, offset = [], 0
        for distilled in sets:
            groups = distilled.similarity_tensors["groups"]
            codes.append(groups + offset)
            offset += int(groups.max()) + 1
        return SharedGroups(), {"groups": torch.cat(codes).int()}
    total, offset = sum(distilled.size for distilled in sets), 0
    matrix = torch.zeros(num_views * total, num_views * total, device="cpu")
    for distilled in sets:
        stored = offset + torch.arange(distilled.size, device="cpu")
        index = torch.cat([view * total + stored for view in range(num_views)])
        matrix[index.unsqueeze(1), index] = distilled.similarity().float()
        offset += distilled.size
    return Full(), {"matrix": matrix}


def _as_set(
    sets: Sequence[DistilledSet],
    storage: Storage,
    latent: Mapping[str, Tensor],
    similarity: Similarity,
    similarity_tensors: Mapping[str, Tensor],
    recipe: Recipe,
) -> DistilledSet:
    spec = replace(
        sets[0].spec, size=len(next(iter(latent.values()))), storage=storage, similarity=similarity, recipe=recipe
    )
    tensors = as_stored(storage, {f"rows/{name}": x for name, x in latent.items()})
    tensors |= {f"similarity/{name}": x for name, x in similarity_tensors.items()}
    return DistilledSet(tensors, spec, sets[0].preprocessing, _provenance(sets))


def _provenance(sets: Sequence[DistilledSet]) -> Provenance:
    """Return the provenance of the merged set: methods, names and notes of all sets, encoders, and all licences."""
    known = [distilled.provenance for distilled in sets]
    encoders = next((each.encoders for each in known if each.encoders), None)
    names = list(dict.fromkeys(each.name for each in known if each.name))
    methods = list(dict.fromkeys(each.method for each in known if each.method))
    sizes = " + ".join(str(distilled.size) for distilled in sets)
    return Provenance(
        method=" + ".join(methods),
        name=" + ".join(names) or None,
        licences=_licences(known),
        encoders=encoders,
        notes=(f"merged from {len(sets)} sets of {sizes} rows", *(note for each in known for note in each.notes)),
    )


def _licences(known: Sequence[Provenance]) -> Json:
    """Return the licences of all sets. If they differ, each licence is listed with the data or set to which it applies.

    A set without recorded licences is listed as "not recorded".
    """
    if all(each.licences == known[0].licences for each in known):
        return known[0].licences
    merged: dict[str, Json] = {}
    for number, each in enumerate(known, start=1):
        match each.licences:
            case Mapping() as by_part:
                parts = {str(part): licence for part, licence in by_part.items()}
            case list() | tuple() as listed:
                parts = {f"part {place} of set {number}": licence for place, licence in enumerate(listed, start=1)}
            case licence:
                parts = {f"set {number}": licence or "not recorded"}
        for part, licence in parts.items():
            same = merged.get(part, licence) == licence
            merged[part if same else f"{part} of set {number}"] = licence
    return merged


def _listed(distilled: DistilledSet) -> str:
    return ", ".join(f"{name} {width}" for name, width in distilled.spec.modalities.items())
