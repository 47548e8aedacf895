"""Render the rows of a synthetic set: find media whose features are close to the rows."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from omnidistill.core.arguments import argument
from omnidistill.core.device import resolve_device
from omnidistill.core.errors import InputError, nearest
from omnidistill.core.streams import Streams
from omnidistill.data.datasets import Data
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import DistilledSet
from omnidistill.encoding.encoders.encoder import Encoder
from omnidistill.encoding.extraction.encode_settings import check_encoders, item_of
from omnidistill.encoding.inversion import InversionSettings, batches
from omnidistill.encoding.manifests.manifest import Manifest, Row, read_manifest
from omnidistill.experiments.evaluate_run import open_result
from omnidistill.experiments.rendering.join_captions import join_captions
from omnidistill.experiments.rendering.render_encoders import check_agreement, open_encoders
from omnidistill.experiments.rendering.render_modality import (
    RenderedModality,
    captions,
    render_modality,
    require_canvas,
)
from omnidistill.experiments.rendering.render_result import NAME, Rendered, save_rendered
from omnidistill.experiments.run import DistillResult, Run, versions
from omnidistill.io.artifacts import require_new_folder
from omnidistill.io.tracking import Progress, shown
from omnidistill.report.instances import Instance, trace_instances
from omnidistill.report.render_content import NearItem, RenderContent, RenderedRow


def render(
    result: DistillResult | Run | Path,
    media: Manifest | Path,
    folder: str | Path,
    *,
    rows: int | Sequence[int] = 30,
    modalities: Sequence[str] | None = None,
    encoders: Mapping[str, str | Encoder] | None = None,
    settings: InversionSettings | None = None,
    data: Data | None = None,
    root: Path | None = None,
    seed: int = 0,
    force: bool = False,
    device: str | torch.device = "auto",
    progress: Progress | bool = True,
    command: str = "",
) -> Rendered:
    """Show rows of a synthetic set as pictures, videos, sounds and captions, and write these to a folder.

    A picture, video or sound is optimised by gradient steps on the encoder's input, so that its features point in the
    direction of the row. For text, the caption of the nearest training item is used; with the setting `captions`, the
    text joins several captions of training items.

    Args:
        result: the result of `distill`, a run, or the Path of a run folder.
        media: manifest (table of items) from which the data were encoded, or the Path of its file.
        folder: output folder.
        rows: how many rows to render, from the first one on, or a list of row numbers.
        modalities: modalities to render; None renders all modalities of the set.
        encoders: encoder of each modality: an object, or a name such as "imagebind-image:FOLDER". If a modality is not
            given, the encoder recorded in the data is used; its weights must be part of a Python package. Texts need an
            encoder only if several captions are joined.
        settings: how media are optimised.
        data: the data of the run; None loads them from the recorded location.
        root: folder to which paths in the manifest are relative; None uses the folder that contains the manifest.
        seed: seed of the random shifts of the media during the optimisation.
        force: whether to replace earlier output in the folder.
        device: where the encoders run: "auto", "cpu", "cuda", "cuda:1" or "mps".
        progress: whether to show progress, or the object that shows it.
        command: command line, recorded in render.json.

    Returns:
        The content of render.json, and the folder.

    Raises:
        InputError: the run is not finished or has several sets; a row, a modality or an encoder is unknown; an encoder
            has no gradients or is not the encoder of the data; the manifest does not contain the items of the data; or
            the folder is not empty and `force` is False.
    """
    chosen, place = settings or InversionSettings(), Path(folder)
    require_new_folder(place, force)
    result, features = open_result(result, data)
    distilled = _one_set(result)
    manifest = read_manifest(media, root) if isinstance(media, Path) else media
    names = _names(modalities, distilled, manifest)
    train = _with_media(features.split("train"), manifest, names)
    indices = _indices(rows, distilled.size)
    traced = trace_instances(distilled, train)
    optimised = [name for name in names if manifest.kinds[name] != "text"]
    encoded = names if chosen.captions > 1 else optimised
    given = {name: each for name, each in (encoders or {}).items() if name in encoded or name not in names}
    opened = open_encoders(given, features, encoded, str(resolve_device(device)))
    if opened:
        check_encoders(manifest, [], opened)
    canvases = {name: require_canvas(opened[name], name, chosen.seconds) for name in optimised}
    for name, encoder in opened.items():
        check_agreement(encoder, name, train, manifest)
    job = _Job(distilled, train, manifest, [traced[row] for row in indices], indices)
    _clear(place)
    done, seconds = dict[str, RenderedModality](), dict[str, float]()
    with shown(progress) as display:
        for name in names:
            started_at = time.monotonic()
            if name in canvases:
                num_batches = len(batches(len(indices), canvases[name], chosen))
                display.start(num_batches * chosen.num_steps, f"render {name}")
                done[name] = job.optimised(name, opened[name], place, chosen, seed, lambda: display.advance(1))
            elif name in opened:
                display.start(len(indices), f"render {name}")
                done[name] = job.joined(name, opened[name], chosen.captions, lambda: display.advance(1))
            else:
                done[name] = job.captions(name)
            seconds[name] = time.monotonic() - started_at
    content = RenderContent(
        run="" if result.folder is None else result.folder.resolve().name,
        data=str(features.provenance.get("name", "data")),
        size=distilled.size,
        encoders={name: opened[name].name if name in opened else "nearest caption" for name in names},
        kinds={name: opened[name].kind if name in opened else "text" for name in names},
        rows=[
            RenderedRow(row=row, media={name: done[name].media[index] for name in names})
            for index, row in enumerate(indices)
        ],
        settings=chosen.to_json(),
        seconds=seconds,
        notes=_notes(len(train), features.split_sizes["train"], names, distilled),
        versions=versions(),
        command=command,
    )
    return save_rendered(content, {name: each.features for name, each in done.items()}, distilled, manifest, place)


@dataclass(frozen=True)
class _Job:
    """Inputs for rendering that do not depend on the modality.

    Attributes:
        distilled: the synthetic set.
        train: the training rows whose items have media of all rendered modalities.
        manifest: the table of items with their media.
        instances: the rows to render, each with its nearest training items.
        indices: the numbers of the rows to render.
    """

    distilled: DistilledSet
    train: FeatureSet
    manifest: Manifest
    instances: Sequence[Instance]
    indices: Sequence[int]

    def optimised(
        self, name: str, encoder: Encoder, folder: Path, settings: InversionSettings, seed: int, advance: object
    ) -> RenderedModality:
        """Optimise media of one modality so that the encoder maps them close to the rows of the set."""
        rows = self._nearest_rows(name)
        return render_modality(
            encoder,
            name,
            self._targets(name),
            [item_of(self.manifest, row, name) for row in rows],
            self._near(name),
            lambda x: self.distilled.preprocessing.apply({name: x})[name],
            folder,
            settings,
            Streams(seed)[f"render/{name}"],
            advance if callable(advance) else lambda: None,
        )

    def captions(self, name: str) -> RenderedModality:
        """Return the captions of the nearest training items."""
        places = {item: place for place, item in enumerate(self.train.ids)}
        rows = self._nearest_rows(name)
        features = self.train.features[name][[places[row.id] for row in rows]]
        return captions([row.media[name] for row in rows], self._targets(name), features, self._near(name))

    def joined(self, name: str, encoder: Encoder, most: int, advance: Callable[[], object]) -> RenderedModality:
        """Return one text per rendered row. Each text joins up to `most` captions of training items."""
        rows = {row.id: row for row in self.manifest.rows}
        texts, features = join_captions(
            encoder,
            self._targets(name),
            [rows[item].media[name] for item in self.train.ids],
            self.train.features[name],
            lambda x: self.distilled.preprocessing.apply({name: x})[name],
            most,
            advance,
        )
        return captions(texts, self._targets(name), features, self._near(name))

    def _targets(self, name: str) -> torch.Tensor:
        return self.distilled.rows()[name][list(self.indices)].float()

    def _near(self, name: str) -> list[list[NearItem]]:
        return [
            [NearItem(id=each.id, cosine=each.cosine) for each in instance.traces[name].nearest]
            for instance in self.instances
        ]

    def _nearest_rows(self, name: str) -> list[Row]:
        rows = {row.id: row for row in self.manifest.rows}
        return [rows[instance.traces[name].nearest[0].id] for instance in self.instances]


def _one_set(result: DistillResult) -> DistilledSet:
    if len(result.sets) > 1:
        raise InputError(
            f"{result.folder or 'result'}: contains {len(result.sets)} sets, one per pair of modalities; pass one of "
            "the runs in its subfolder pairs/"
        )
    return result.set


def _names(requested: Sequence[str] | None, distilled: DistilledSet, manifest: Manifest) -> list[str]:
    """Return the modalities to render, in the order of the set."""
    for name in requested or ():
        if name not in distilled.modalities:
            known = f"the modalities are {', '.join(distilled.modalities)}{nearest(name, distilled.modalities)}"
            raise InputError(f"{argument('modalities')}: the set has no modality {name!r}; {known}")
    names = [name for name in distilled.modalities if requested is None or name in requested]
    for name in names:
        if name not in manifest.kinds:
            raise InputError(
                f"{argument('media')}: the manifest has no column for modality {name!r} (its columns are "
                f"{', '.join(manifest.kinds)}); pass the manifest from which the features were encoded"
            )
    return names


def _with_media(train: FeatureSet, manifest: Manifest, names: Sequence[str]) -> FeatureSet:
    """Return the training rows for which the manifest contains media of all rendered modalities."""
    complete = {row.id for row in manifest.rows if all(name in row.media for name in names)}
    places = [place for place, item in enumerate(train.ids) if item in complete]
    if not places:
        raise InputError(
            f"{argument('media')}: the manifest contains no training item with media of all rendered modalities "
            f"(ids in the manifest look like {manifest.rows[0].id!r}, ids in the data like {train.ids[0]!r}); pass the "
            "manifest from which the features were encoded"
        )
    return train.select(places)


def _indices(rows: int | Sequence[int], size: int) -> list[int]:
    indices = list(range(min(rows, size))) if isinstance(rows, int) else list(rows)
    if not indices or any(not 0 <= row < size for row in indices) or len(set(indices)) < len(indices):
        raise InputError(
            f"{argument('rows', rows)}: the set has {size} rows, numbered 0 to {size - 1}; pass the number of rows to "
            "render (at least 1), or a list of row numbers without duplicates"
        )
    return indices


def _notes(with_media: int, in_train: int, names: Sequence[str], distilled: DistilledSet) -> list[str]:
    notes = []
    if with_media < in_train:
        notes.append(
            f"{with_media:,} of {in_train:,} training items are in the manifest; nearest items are chosen among these."
        )
    if left_out := [name for name in distilled.modalities if name not in names]:
        notes.append(f"Not rendered: {', '.join(left_out)}.")
    return notes


def _clear(folder: Path) -> None:
    """Delete the media of earlier output in the folder, if there are any."""
    if (folder / f"{NAME}.json").exists():
        (folder / f"{NAME}.json").unlink()
        for part in ("media", "pictures"):
            shutil.rmtree(folder / part, ignore_errors=True)
