"""A run's page: what its folder keeps, brought together for `report`.

RUN/run.json, distilled/, metrics.jsonl, floor.json, timings.json     of every finished run
RUN/scores.json, cases.json                                           of one that was evaluated
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.encoding.manifests.manifest import Manifest
from omnidistill.experiments.run import Run, fingerprint, open_data, open_run, versions
from omnidistill.io.artifacts import read_json, write_atomic
from omnidistill.report.cases import load_cases
from omnidistill.report.instances import Instance, trace_instances
from omnidistill.report.items import EmojiItems, Items, ManifestItems, NamedItems
from omnidistill.report.page import RunView, render_page
from omnidistill.report.similarity_view import SimilarityView, similarity_view

CASES, SCORES = "cases.json", "scores.json"


def write_report(
    folders: Sequence[Path], output: Path, *, media: Manifest | None = None, data_reference: str | None = None
) -> list[RunView]:
    """Write the page of finished runs over the same data; returns what is on it. The test split is not opened: scores
    and cases are those that evaluating a run left.

    Args:
        folders: run folders, the first first.
        output: the HTML file.
        media: the items that the features were encoded from, for captions, pictures and sounds.
        data_reference: where the data are now, if they moved.

    Raises:
        InputError: no run, an unfinished one, data that are not those of the run, runs that are not of the same data.
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
        scores = (
            read_json(folder / SCORES)
            if (folder / SCORES).exists()
            else {**known(run, data), "versions": _made_by(run)}
        )
        views.append(view(run, scores, data, media=media))
    write_atomic(output, render_page(views).encode())
    return views


def view(
    run: Run, scores: Mapping[str, Any], data: FeatureSet, place: Path | None = None, media: Manifest | None = None
) -> RunView:
    """What the page shows of a run; of a run of pairs, the instances of all its sets and no curves.

    place: the folder of the scores, if it is not that of the run.
    """
    train = data.split("train")
    instances: list[Instance] = []
    similarities: list[SimilarityView] = []
    sets = run.sets()
    for distilled in sets:
        similarities.append(similarity_view(distilled, first=len(instances)))
        instances += trace_instances(distilled, train, first=len(instances))
    provenance = sets[0].provenance
    command = read_json(run.folder / "run.json").get("command") or ""
    return RunView(
        scores,
        read_records(run.folder) if run.config.joint else [],
        instances,
        items_of(data, media),
        _told_apart(similarities, [distilled.modalities for distilled in sets]),
        load_cases((place or run.folder) / CASES),
        run.folder.resolve().name,
        list(dict.fromkeys([str(command), str(scores.get("command") or "")])),
        {
            "Chosen by the data": dict(provenance.choices),
            "Notes": {str(number): note for number, note in enumerate(provenance.notes, start=1)},
            "Encoders": data.provenance.get("encoders") or {},
            "Settings": run.config.model_dump(mode="json"),
        },
    )


def items_of(data: FeatureSet, media: Manifest | None) -> Items:
    """What there is to show of the rows: those of the bundled set know it, others by their manifest."""
    if media is not None:
        if not set(data.ids) & {row.id for row in media.rows}:
            raise InputError(
                f"--media: its ids (such as {media.rows[0].id!r}) are none of the set's (such as {data.ids[0]!r}); "
                "give the manifest that was encoded"
            )
        return ManifestItems(media)
    return EmojiItems() if data.provenance.get("name") == "emoji" else NamedItems()


def known(run: Run, data: FeatureSet) -> dict[str, Any]:
    """What is known of a finished run before it is scored, as scores.json has it."""
    sets = run.sets()
    return {
        "schema": 1,
        "method": run.config.method,
        "size": sets[0].size,
        "versions": versions(),
        "data": _describe(data),
        "floor": floor_of(run.folder),
        "matching_loss": matching_loss_of(run.folder, sets[0].modalities),
        "seconds": run.seconds(),
        "bytes": {
            "features": data.split("train").bytes,
            "experts": sum(_folder_bytes(part.folder / "experts") for part in run.parts),
            "distilled": sum(distilled.bytes for distilled in sets),
        },
    }


def read_records(folder: Path) -> list[dict[str, Any]]:
    """The metrics of a run, one record an iteration. Raises InputError for a log that was altered."""
    path = folder / "metrics.jsonl"
    try:
        return [dict(json.loads(line)) for line in path.read_text("utf-8").splitlines()]
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); the log was altered, distil again") from error


def floor_of(folder: Path) -> dict[str, float] | None:
    """The rank floor of the run's size, per branch; None where the experts do not tell."""
    path = folder / "floor.json"
    return read_json(path).get("floor") if path.exists() else None


def matching_loss_of(folder: Path, modalities: Sequence[str]) -> float | None:
    """The matching loss, sum over the modalities, mean over the last tenth of the iterations; None where nothing is
    matched.
    """
    records = read_records(folder) if (folder / "metrics.jsonl").exists() else []
    matched = [f"loss/{name}" for name in modalities]
    terms = [[record[name] for name in matched if name in record] for record in records]
    losses = [sum(found) for found in terms if found]
    last = losses[-max(1, len(losses) // 10) :]
    return sum(last) / len(last) if last else None


def _told_apart(similarities: Sequence[SimilarityView], modalities: Sequence[Sequence[str]]) -> list[SimilarityView]:
    """Similarities that differ are named by the modalities of their sets; equal ones are told once."""
    if len(set(similarities)) == 1:
        return [similarities[0]]
    return [
        replace(shown, sentence=f"{' and '.join(names)}: {shown.sentence}")
        for shown, names in zip(similarities, modalities, strict=True)
    ]


def _made_by(run: Run) -> dict[str, str]:
    found = read_json(run.folder / "run.json").get("versions")
    return found if isinstance(found, dict) else {}


def _describe(data: FeatureSet) -> dict[str, Any]:
    licences = data.provenance.get("licences") or {}
    return {
        "name": str(data.provenance.get("name", "data")),
        "widths": data.widths,
        "rows": data.split_sizes,
        "licence": [f"{part}: {name}" for part, name in licences.items()]
        if isinstance(licences, Mapping)
        else list(licences),
    }


def _folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir()) if folder.exists() else 0
