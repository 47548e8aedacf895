"""Ways ("options") to use a distilled set with another encoder. Each gives sets in the feature space of that encoder.

    mixture     rows that are mixtures of real items, computed from the features of these items by the new encoder
    nearest     the real item nearest to each row, per modality or jointly for all modalities
    map         rows mapped from the old to the new encoder by ridge regression, fitted on all training items
    rendered    media that were rendered from the rows and encoded by the new encoder

An option with a setting gives one set per candidate value. The best set is chosen on validation.

Shapes: N rows, n items, p and q feature widths of the old and the new encoder.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import DistilledSet
from omnidistill.distillation.item_mixture import Missing, Mixture, fit
from omnidistill.experiments.run import DistillResult, distill
from omnidistill.experiments.transfer.rendered_features import rendered_features
from omnidistill.experiments.transfer.transfer_settings import TransferSettings
from omnidistill.models.storages import RowStorage
from omnidistill.training.closed_form.pair_maps import PairMoments

_WEIGHTS = RowStorage(bits=8)
"""Storage of the mixing matrix that is fitted to a set."""


@dataclass(frozen=True, eq=False)
class Option:
    """A way to use a set with another encoder.

    Attributes:
        name: name of the row of the table.
        sets: {setting: candidate set that was made with this setting}, in the space of the new encoder.
        bytes: size of the files that a user of the new encoder needs. The items to encode are not counted.
        needs: which items must be encoded by the new encoder.
        seconds: time to compute the sets.
        items: ids of the items that a mixture uses. Empty if it uses all training items, or if the option is not a
            mixture.
    """

    name: str
    sets: Mapping[str, DistilledSet]
    bytes: int
    needs: str
    seconds: float
    items: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class SourceRun:
    """A run whose set is transferred to another encoder, together with the data of the run.

    The property `learned_mixture` is a second set of the same size, whose rows are mixtures of real items.

    Attributes:
        result: the result of the run.
        data: the data from which the set of the run was distilled.
        folder: folder in which the second set is stored; None keeps it in memory.
    """

    result: DistillResult
    data: FeatureSet
    folder: Path | None = None

    @cached_property
    def learned_mixture(self) -> DistillResult:
        """A set whose rows are mixtures of items, learned from the data of the run by the method "mixture"."""
        return distill(
            self.data,
            preset="mixture",
            size=self.result.set.size,
            seed=self.result.config.seed,
            heads=dict(self.result.start),
            folder=run_folder(self.folder, "mixture", self.result),
            resume=self.folder is not None,
            device=self.data.device,
            progress=False,
        )


@dataclass(frozen=True, eq=False)
class Source:
    """A run, and the training rows of the old and the new encoder for the same items in the same order."""

    run: SourceRun
    old: FeatureSet
    new: FeatureSet
    missing: Missing

    @property
    def plain(self) -> DistilledSet:
        """The set with rows stored in float32. Rows computed from it for another encoder then keep full precision."""
        distilled, storage = self.run.result.set, self.run.result.set.spec.storage
        exact = storage.evolve(bits=32) if isinstance(storage, RowStorage) else RowStorage()
        rows = {f"rows/{name}": x for name, x in self.stored_rows.items()}
        others = {name: x for name, x in distilled.tensors.items() if not name.startswith("rows/")}
        return replace(distilled, spec=replace(distilled.spec, storage=exact), tensors={**rows, **others})

    @property
    def stored_rows(self) -> dict[str, Float[Tensor, "N _"]]:
        """The stored rows of the set, without their sign views (copies with flipped signs, which are not stored)."""
        distilled = self.run.result.set
        return {name: x[: distilled.size] for name, x in distilled.rows().items()}


def options_of(source: Source, settings: TransferSettings, rendered: Path | None) -> Iterator[Option]:
    """Yield the requested options (ways to use a set with the new encoder), each with its sets.

    Args:
        source: the run and the data of both encoders.
        settings: which options to compare.
        rendered: folder with the features of rendered media; None omits the option "rendered".
    """
    if "mixture" in settings.options:
        yield from _mixtures(source, settings)
    if "nearest" in settings.options:
        yield _nearest(source, per_modality=True)
        yield _nearest(source, per_modality=False)
    if "map" in settings.options:
        yield _mapped(source, settings)
    if rendered is not None:
        yield rendered_rows(source, rendered)


def _mixtures(source: Source, settings: TransferSettings) -> Iterator[Option]:
    """Yield the option "mixture": a set whose rows are mixtures of items, computed from the new encoder's features.

    If the rows of the run's own set are mixtures, that set is used. Otherwise there are two variants: mixtures that are
    learned from the data of the run, and mixtures that are fitted to the rows of its set.
    """
    started_at = time.monotonic()
    if source.run.result.set.mixture is not None:
        yield _mixed("mixture", source, {"": source.run.result.set}, started_at)
        return
    learned = source.run.learned_mixture
    option = _mixed("mixture, learned", source, {"": learned.set}, time.monotonic())
    yield replace(option, seconds=option.seconds + learned.seconds["distill"])
    started_at = time.monotonic()
    fitted = fit(source.stored_rows, source.old, settings.mixture_ridges, _WEIGHTS)
    sets = {f"ridge {ridge:g}": replace(source.plain, mixture=mixture) for ridge, mixture in fitted.items()}
    yield _mixed("mixture, fitted to the set", source, sets, started_at)


def _mixed(name: str, source: Source, sets: Mapping[str, DistilledSet], started_at: float) -> Option:
    realised = {setting: each.realise(source.new, missing=source.missing) for setting, each in sets.items()}
    mixture = next(iter(realised.values())).mixture
    assert isinstance(mixture, Mixture)
    needs, seconds = f"{len(mixture.ids):,} items", time.monotonic() - started_at
    items = mixture.ids if len(mixture.ids) < len(source.new) else ()
    return Option(name, realised, mixture.bytes, needs, seconds, items)


def _nearest(source: Source, per_modality: bool) -> Option:
    started_at = time.monotonic()
    similarity = {
        name: _cosines(x.to(source.old.device), source.old.features[name]) for name, x in source.stored_rows.items()
    }
    if per_modality:
        chosen = {name: each.argmax(1) for name, each in similarity.items()}
    else:
        joint = torch.stack(list(similarity.values())).sum(0).argmax(1)
        chosen = dict.fromkeys(similarity, joint)
    rows = {name: source.new.features[name][index] for name, index in chosen.items()}
    distilled = source.plain.with_rows(rows, source.new)
    distinct = [len(set(each.tolist())) for each in chosen.values()]
    name = "nearest item per modality" if per_modality else "nearest item"
    needs = f"{sum(distinct):,} items of single modalities" if per_modality else f"{distinct[0]:,} items"
    return Option(name, {"": distilled}, _bytes_of_ids(source.new, chosen), needs, time.monotonic() - started_at)


def _mapped(source: Source, settings: TransferSettings) -> Option:
    started_at = time.monotonic()
    means = {name: (x.mean(0), source.new.features[name].mean(0)) for name, x in source.old.features.items()}
    moments = {
        name: PairMoments.of(x - means[name][0], source.new.features[name] - means[name][1])
        for name, x in source.old.features.items()
    }
    sets = {}
    for ridge in settings.map_ridges:
        rows = {}
        for name, x in source.stored_rows.items():
            matrix = moments[name].ridge_map(ridge).to(source.old.features[name])
            mapped = (x.to(matrix) - means[name][0]) @ matrix + means[name][1]
            rows[name] = _with_lengths_of(mapped, x.to(matrix))
        sets[f"ridge {ridge:g}"] = source.plain.with_rows(rows, source.new)
    needs = f"all {len(source.new):,} items, also by the old encoder"
    return Option("map between encoders", sets, next(iter(sets.values())).bytes, needs, time.monotonic() - started_at)


def rendered_rows(source: Source, folder: Path) -> Option:
    """Return the option "rendered": a set whose rows are the features of rendered media.

    The media must already have been rendered from the rows of the run's set, and encoded by the new encoder.

    Args:
        source: the run and the data of the new encoder.
        folder: folder with the new encoder's features of the media; see `rendered_features`.

    Raises:
        InputError: the features cannot be read, or do not fit the set or the new encoder.
    """
    started_at, size = time.monotonic(), source.run.result.set.size
    distilled = source.plain.with_rows(rendered_features(folder, size, source.new), source.new)
    return Option("rendered", {"": distilled}, distilled.bytes, "none", time.monotonic() - started_at)


def run_folder(folder: Path | None, name: str, result: DistillResult) -> Path | None:
    """Return the path FOLDER/NAME-nSIZE-sSEED, with the size and seed of a run; None if `folder` is None."""
    return None if folder is None else folder / f"{name}-n{result.set.size}-s{result.config.seed}"


def _cosines(rows: Float[Tensor, "N p"], items: Float[Tensor, "n p"]) -> Float[Tensor, "N n"]:
    return torch.nn.functional.normalize(rows, dim=1) @ torch.nn.functional.normalize(items, dim=1).mT


def _with_lengths_of(rows: Float[Tensor, "N q"], originals: Float[Tensor, "N p"]) -> Float[Tensor, "N q"]:
    """Return the rows, each scaled to the root mean square of the corresponding original row."""
    target = originals.square().mean(1, keepdim=True).sqrt()
    return rows * (target / rows.square().mean(1, keepdim=True).sqrt().clamp_min(torch.finfo(rows.dtype).tiny))


def _bytes_of_ids(data: FeatureSet, chosen: Mapping[str, Int[Tensor, " N"]]) -> int:
    """Return the size in bytes of a file with the ids of the chosen items, one per line.

    If several modalities have the same list of items, the list counts once.
    """
    lists = {tuple(index.tolist()) for index in chosen.values()}
    return sum(len(data.ids[row].encode()) + 1 for rows in lists for row in rows)
