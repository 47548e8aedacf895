"""Write the HTML report page about finished runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError
from omnidistill.core.json_value import Json
from omnidistill.data.datasets import Data, opened
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation.shipped_bytes import initial_heads_bytes
from omnidistill.encoding.manifests.manifest import Manifest, read_manifest
from omnidistill.evaluation.run_scores import RunBytes, RunData, RunScores
from omnidistill.evaluation.theory.theory_content import TheoryContent
from omnidistill.experiments.related_results import related_results
from omnidistill.experiments.run import DistillResult, matching_loss, open_run, runs_unchanged
from omnidistill.io.artifacts import require_new, write_output
from omnidistill.report.cases import Cases, load_cases
from omnidistill.report.instances import Instance, trace_instances
from omnidistill.report.items import EmojiItems, Items, ManifestItems, NamedItems
from omnidistill.report.page import RunView, render_page
from omnidistill.report.run_curves import kept_iteration
from omnidistill.report.similarity_view import SimilarityView, similarity_view
from omnidistill.report.theory_summary import Finding, findings

CASES, SCORES, PAGE = "cases.json", "scores.json", "report.html"
THEORY = Path("theory", "theory.json")


def write_report(
    runs: Sequence[Path | DistillResult],
    output: str | Path,
    *,
    media: Manifest | Path | None = None,
    root: Path | None = None,
    data: Data | None = None,
    force: bool = False,
) -> list[RunView]:
    """Write one report page about finished runs on the same data.

    The scores and retrieval examples are read from the files that `evaluate` wrote; the test split is not used. The
    page links to results of other commands in the run folders or next to them (see `related_results`).

    Args:
        runs: run folders, or results that were stored in run folders, in the order in which the page shows them.
        output: the HTML file.
        media: manifest of the original items; the page then shows their captions, pictures and sounds. Unknown columns
            of the manifest are ignored.
        root: folder to which paths in the manifest are relative; None uses the folder that contains the manifest.
        data: the data. Required if they were moved after the run, or if they were only in memory.
        force: whether to replace an existing file. Not needed for the file report.html in the first run folder.

    Returns:
        The content of the page, one view per run.

    Raises:
        InputError: a folder is not a finished run or is in use by another process, the data do not belong to a run, the
            runs use different data, or the output exists and `force` is False.
    """
    output, folders = Path(output), [_folder(each) for each in runs]
    replaceable = report_file(output, folders[0], force)
    items = read_manifest(media, root, other_columns=True) if isinstance(media, Path) else media
    with runs_unchanged(folders):
        views = [stored_view(folder, output, data, items) for folder in folders]
        write_output(output, render_page(views).encode(), replaceable)
    return views


def report_file(output: Path, folder: Path, force: bool) -> bool:
    """Check that a report page can be written to a file, and return whether it may replace an existing file.

    Args:
        output: the HTML file.
        folder: folder of the first run. The file report.html in this folder may always be replaced.
        force: whether any other existing file may be replaced.

    Raises:
        InputError: the file exists and may not be replaced, or its suffix is not .html or .htm.
    """
    if output.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{output}: the report is an HTML page; use the suffix .html")
    replaceable = force or output.resolve() == (folder / PAGE).resolve()
    require_new(output, replaceable)
    return replaceable


def stored_view(folder: Path, page: Path, data: Data | None = None, media: Manifest | None = None) -> RunView:
    """Return the content of the report page for a finished run, read from the files in its run folder.

    Args:
        folder: the run folder.
        page: path of the report page. Links to related results are relative to it.
        data: the data; None loads them from the recorded location.
        media: manifest of the original items.

    Raises:
        InputError: the folder is not a finished run, or the data do not belong to it.
    """
    run = open_run(folder)
    features = run.data(None if data is None else opened(data))
    result, path = run.result(features), folder / SCORES
    scores = RunScores.from_file(path) if path.exists() else unscored(result, features)
    view = run_view(result, scores, features, load_cases(folder / CASES, features), media)
    return replace(view, theory=_theory(folder / THEORY), related=related_results(folder, scores, page))


def _folder(run: Path | DistillResult) -> Path:
    folder = run.folder if isinstance(run, DistillResult) else run
    if folder is None:
        raise InputError(
            "runs: this result is only in memory and has no folder; write its report page with "
            "evaluate(...).save(folder)"
        )
    return folder


def _theory(path: Path) -> list[Finding]:
    """Return the findings that `diagnose` stored; an empty list if the run has not been diagnosed."""
    return findings(TheoryContent.from_file(path)) if path.exists() else []


def run_view(
    result: DistillResult,
    scores: RunScores,
    data: FeatureSet,
    cases: Cases | None = None,
    media: Manifest | None = None,
) -> RunView:
    """Return the content of the page for one run.

    If the run has one set per pair of modalities, the page shows the rows of all sets, but no training curves.

    Args:
        result: the result of the run.
        scores: the scores of the run.
        data: the data of the run.
        cases: retrieval examples of the run; None shows none.
        media: manifest of the original items.

    Raises:
        InputError: no item of `media` is in the data.
    """
    train = data.split("train")
    instances: list[Instance] = []
    similarities: list[SimilarityView] = []
    named: list[Sequence[str]] = []
    for distilled in result.sets:
        if (learned := similarity_view(distilled, first=len(instances))) is not None:
            similarities.append(learned)
            named.append(distilled.modalities)
        instances += trace_instances(distilled, train, first=len(instances))
    records = list(result.parts[0].records) if result.config.joint else []
    provenance, encoders = result.sets[0].provenance, data.provenance.get("encoders")
    return RunView(
        scores,
        records,
        instances,
        items_of(data, media),
        _named_similarities(similarities, named),
        cases,
        result.config.method if result.folder is None else result.folder.resolve().name,
        list(dict.fromkeys([result.command, scores.command])),
        {
            "Chosen by the data": dict(provenance.choices),
            "Notes": {str(number): note for number, note in enumerate(provenance.notes, start=1)},
            "Encoders": encoders if isinstance(encoders, dict) else {},
            "Settings": result.config.model_dump(mode="json"),
        },
        kept_iteration(result.parts[0]) if result.config.joint else None,
    )


def items_of(data: FeatureSet, media: Manifest | None) -> Items:
    """Return an object that finds the caption, picture or sound of a row.

    Without a manifest, only the bundled dataset has captions and pictures. For other data, the page shows the ids of
    the items instead.

    Raises:
        InputError: no item of the manifest is in the data.
    """
    if media is not None:
        if not set(data.ids) & {row.id for row in media.rows}:
            raise InputError(
                f"{argument('media')}: the manifest (with ids such as {media.rows[0].id!r}) and the data (with ids "
                f"such as {data.ids[0]!r}) have no id in common; pass the manifest from which the features were encoded"
            )
        return ManifestItems(media)
    return EmojiItems() if data.provenance.get("name") == "emoji" else NamedItems()


def unscored(result: DistillResult, data: FeatureSet) -> RunScores:
    """Return the facts about a run that has not been evaluated yet, as `RunScores` without table rows.

    Args:
        result: the result of the run.
        data: the data of the run.
    """
    return RunScores(
        method=result.config.method,
        size=result.sets[0].size,
        versions=result.versions,
        data=_describe(data),
        floor=result.parts[0].floor if result.config.joint else None,
        matching_loss=matching_loss(result.parts[0]) if result.config.joint else None,
        seconds=result.seconds,
        bytes=RunBytes(
            features=data.split("train").bytes,
            experts=result.expert_bytes,
            distilled=result.bytes,
            initial_heads=initial_heads_bytes(result.start),
        ),
    )


def _named_similarities(
    similarities: Sequence[SimilarityView], modalities: Sequence[Sequence[str]]
) -> list[SimilarityView]:
    """Begin the sentence about each similarity matrix with the modalities of its set, such as "image and text: ...".

    If the summaries of all sets are equal, return only the first, unchanged.

    Args:
        similarities: summary of the similarity matrix of each set.
        modalities: modalities of each set.
    """
    if len(set(similarities)) == 1:
        return [similarities[0]]
    return [
        replace(shown, sentence=f"{' and '.join(names)}: {shown.sentence}")
        for shown, names in zip(similarities, modalities, strict=True)
    ]


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
