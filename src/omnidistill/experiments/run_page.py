"""The page of a run, built from the files in its folder.

RUN/run.json, distilled/, metrics.jsonl, floor.json, timings.json     of every finished run
RUN/scores.json, cases.json                                           of an evaluated run
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from omnidistill.core.errors import InputError
from omnidistill.core.json_value import Json
from omnidistill.data.featureset import FeatureSet
from omnidistill.encoding.manifests.manifest import Manifest
from omnidistill.evaluation.run_scores import RunBytes, RunData, RunScores
from omnidistill.experiments.run import Run, fingerprint, open_data, open_run, versions
from omnidistill.io.artifacts import JsonContent, read_json, write_atomic
from omnidistill.io.tracking import read_records
from omnidistill.report.cases import load_cases
from omnidistill.report.instances import Instance, trace_instances
from omnidistill.report.items import EmojiItems, Items, ManifestItems, NamedItems
from omnidistill.report.page import RunView, render_page
from omnidistill.report.similarity_view import SimilarityView, similarity_view

CASES, METRICS, SCORES = "cases.json", "metrics.jsonl", "scores.json"


class RankFloor(JsonContent):
    """Content of floor.json: the rank floor of the matching loss by modality.

    It is None if the experts do not determine it.
    """

    remedy: ClassVar[str] = "distil again"

    floor: Mapping[str, float] | None = None


def write_report(
    folders: Sequence[Path], output: Path, *, media: Manifest | None = None, data_reference: str | None = None
) -> list[RunView]:
    """Write the page of finished runs over the same data.

    The test split is not opened: scores and cases are those that `evaluate_run` wrote.

    Args:
        folders: run folders, in the order of the page.
        output: the HTML file.
        media: the items that the features were encoded from, for captions, pictures and sounds.
        data_reference: current location of the data, if they were moved.

    Returns:
        What the page shows of each run.

    Raises:
        InputError: a folder is no run or an unfinished one, the data are not those of a run, or the runs are not of the
            same data.
    """
    views = []
    for folder in folders:
        run = open_run(folder)
        reference = data_reference or run.data_reference
        data = open_data(reference, run.config)
        if fingerprint(data) != run.fingerprint:
            raise InputError(
                f"{reference}: is not the data of {folder} (its rows differ); say where they are by --data"
            )
        views.append(run_view(run, load_scores(run, data), data, media=media))
    write_atomic(output, render_page(views).encode())
    return views


def load_scores(run: Run, data: FeatureSet) -> RunScores:
    """Return the scores of a run, without rows if it is not evaluated.

    Args:
        run: a finished run.
        data: its data.

    Raises:
        InputError: scores.json is damaged.
    """
    path = run.folder / SCORES
    if path.exists():
        return RunScores.from_json(read_json(path), str(path))
    return unscored(run, data).evolve(versions=_recorded_versions(run))


def run_view(
    run: Run, scores: RunScores, data: FeatureSet, place: Path | None = None, media: Manifest | None = None
) -> RunView:
    """Return what the page shows of a run; of a run of pairs, the instances of all its sets and no curves.

    Args:
        run: a finished run.
        scores: its scores.
        data: its data.
        place: folder of the scores, if it is not that of the run.
        media: the items that the features were encoded from.

    Raises:
        InputError: a file of the run is damaged, or no item of `media` is in the data.
    """
    train = data.split("train")
    instances: list[Instance] = []
    similarities: list[SimilarityView] = []
    sets = run.sets()
    for distilled in sets:
        similarities.append(similarity_view(distilled, first=len(instances)))
        instances += trace_instances(distilled, train, first=len(instances))
    provenance, encoders = sets[0].provenance, data.provenance.get("encoders")
    command = read_json(run.folder / "run.json").get("command") or ""
    return RunView(
        scores,
        read_records(run.folder / METRICS) if run.config.joint else [],
        instances,
        items_of(data, media),
        _named_similarities(similarities, [distilled.modalities for distilled in sets]),
        load_cases((place or run.folder) / CASES),
        run.folder.resolve().name,
        list(dict.fromkeys([str(command), scores.command])),
        {
            "Chosen by the data": dict(provenance.choices),
            "Notes": {str(number): note for number, note in enumerate(provenance.notes, start=1)},
            "Encoders": encoders if isinstance(encoders, dict) else {},
            "Settings": run.config.model_dump(mode="json"),
        },
    )


def items_of(data: FeatureSet, media: Manifest | None) -> Items:
    """Return captions, pictures and sounds of the rows: of the bundled dataset, or of a manifest.

    Raises:
        InputError: no item of the manifest is in the data.
    """
    if media is not None:
        if not set(data.ids) & {row.id for row in media.rows}:
            raise InputError(
                f"--media: its ids (such as {media.rows[0].id!r}) are none of the set's (such as {data.ids[0]!r}); "
                "give the manifest that was encoded"
            )
        return ManifestItems(media)
    return EmojiItems() if data.provenance.get("name") == "emoji" else NamedItems()


def unscored(run: Run, data: FeatureSet) -> RunScores:
    """Return what is known of a finished run before it is scored: scores without rows, versions of this process.

    Args:
        run: a finished run.
        data: its data.

    Raises:
        InputError: a file of the run is damaged.
    """
    sets = run.sets()
    return RunScores(
        method=run.config.method,
        size=sets[0].size,
        versions=versions(),
        data=_describe(data),
        floor=floor_of(run.folder),
        matching_loss=matching_loss_of(run.folder, sets[0].modalities),
        seconds=run.seconds(),
        bytes=RunBytes(
            features=data.split("train").bytes,
            experts=sum(_folder_bytes(part.folder / "experts") for part in run.parts),
            distilled=sum(distilled.bytes for distilled in sets),
        ),
    )


def floor_of(folder: Path) -> Mapping[str, float] | None:
    """Return the rank floor by modality; None if the experts do not determine it.

    Raises:
        InputError: floor.json is damaged.
    """
    path = folder / "floor.json"
    return RankFloor.from_json(read_json(path), str(path)).floor if path.exists() else None


def matching_loss_of(folder: Path, modalities: Sequence[str]) -> float | None:
    """Return the matching loss at the end of distillation: summed over modalities, mean over the last tenth of the log.

    Args:
        folder: folder of the run.
        modalities: whose terms of the loss are summed.

    Returns:
        The loss, None if nothing was matched.

    Raises:
        InputError: the log was altered.
    """
    path = folder / METRICS
    records = read_records(path) if path.exists() else []
    matched = [f"loss/{name}" for name in modalities]
    terms = [[record.values[name] for name in matched if name in record.values] for record in records]
    losses = [sum(of_record) for of_record in terms if of_record]
    last = losses[-max(1, len(losses) // 10) :]
    return sum(last) / len(last) if last else None


def _named_similarities(
    similarities: Sequence[SimilarityView], modalities: Sequence[Sequence[str]]
) -> list[SimilarityView]:
    """Return each similarity named by the modalities of its set, or the first without a name if all are equal."""
    if len(set(similarities)) == 1:
        return [similarities[0]]
    return [
        replace(shown, sentence=f"{' and '.join(names)}: {shown.sentence}")
        for shown, names in zip(similarities, modalities, strict=True)
    ]


def _recorded_versions(run: Run) -> dict[str, str]:
    """Return the versions of the packages that made the set, as the run recorded them."""
    recorded = read_json(run.folder / "run.json").get("versions")
    return {name: str(version) for name, version in recorded.items()} if isinstance(recorded, dict) else {}


def _describe(data: FeatureSet) -> RunData:
    match data.provenance.get("licences"):
        case Mapping() as by_part:
            licences: tuple[Json, ...] = tuple(f"{part}: {licence}" for part, licence in by_part.items())
        case [*listed]:
            licences = tuple(listed)
        case None | "":
            licences = ()
        case licence:
            licences = (licence,)
    name = str(data.provenance.get("name", "data"))
    return RunData(name=name, widths=data.widths, rows=data.split_sizes, licence=licences)


def _folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir()) if folder.exists() else 0
