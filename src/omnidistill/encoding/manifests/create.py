"""Create a manifest from a folder of media files, another manifest, or data in the layout of another tool."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError
from omnidistill.data.source_layouts import Choice, Source, as_source, open_layout
from omnidistill.data.source_layouts.arrow_dataset import ArrowDataset
from omnidistill.data.splits import draw_missing
from omnidistill.encoding.manifests.build import build_manifest
from omnidistill.encoding.manifests.check import Checked, check_manifest
from omnidistill.encoding.manifests.extract import extract_media
from omnidistill.encoding.manifests.manifest import Manifest, Missing, read_manifest
from omnidistill.encoding.manifests.write_manifest import write_manifest
from omnidistill.io.artifacts import require_new
from omnidistill.io.tracking import Progress, shown


def create_manifest(
    source: Source,
    out: str | Path | None = None,
    *,
    modalities: Mapping[str, str] | Sequence[str] | None = None,
    id_column: str = "id",
    group_column: str = "group",
    split_column: str = "split",
    seed: int = 0,
    missing: Missing = "drop",
    force: bool = False,
    progress: Progress | bool = True,
) -> Checked:
    """Create the table of items that `encode` takes, and check every file in it.

    Args:
        source: folder of media files; manifest to check (.csv, .jsonl, .tsv, .parquet); folder or file of .tar shards;
            folder that `save_to_disk` wrote or that contains Parquet files; `datasets.Dataset` or `DatasetDict`; or the
            name "hub:OWNER/NAME" of a dataset on the Hugging Face Hub.
        out: file to write (.csv, .jsonl or .parquet). With None, a folder of media files or a manifest is only checked.
            Other sources need a file, such as NAME.csv, because their media are extracted to a new folder NAME-media
            next to it.
        modalities: media to use. None uses all media, but only one text column or .json field, such as the captions.
            For a folder of media files: a list of kinds, such as ["image", "text"]. For shards and datasets:
            {modality: NAME}, or a list of strings "NAME" or "MODALITY=NAME". In a dataset, NAME is a column. In shards,
            it is a .json field with texts, or the kind or middle part of file names: "image" selects the files 0.jpg,
            1.jpg, ..., and "left" selects 0.left.jpg, 1.left.jpg, .... Not allowed for a manifest.
        id_column, group_column, split_column: columns or .json fields with the id, group and split of an item. A folder
            of media files and a manifest do not use them.
        seed: seed for random splits. The items in a folder of media files are split at random (80 % train, 10 %
            validation, 10 % test), unless it contains folders named after splits. If another source has no validation
            split, 10 % of its training groups, drawn at random, become that split. The same applies to the test split.
            A manifest is completed in this way only if `out` is given.
        missing: what to do about items that cannot be used: "drop" drops and counts them, "fail" raises InputError.
        force: whether to replace the file `out`.
        progress: whether to show progress, or an object that shows it.

    Returns:
        The manifest of the usable items, the problems of the others, and notes.

    Raises:
        InputError: the source cannot be read or contains no usable item, or the output exists.
    """
    out = None if out is None else Path(out)
    if out is not None:
        require_new(out, force)
    choice = Choice.of(modalities, id_column, group_column, split_column)
    with _manifest(source, out, choice, seed) as (manifest, notes):
        checked = replace(check_manifest(manifest, missing, shown(progress)), notes=notes)
        if out is not None:
            write_manifest(checked.manifest, out, force=force)
    return checked


@contextmanager
def _manifest(
    source: Source, out: Path | None, choice: Choice, seed: int
) -> Iterator[tuple[Manifest, tuple[str, ...]]]:
    """Yield the manifest and notes. If the `with` block fails, delete the media that were written for this manifest."""
    source = as_source(source)
    layout = open_layout(source)
    if layout is not None and not (isinstance(layout, ArrowDataset) and _is_manifest(source, layout)):
        if out is None:
            raise InputError(
                f"{layout.where}: this source needs an output file, because its media are extracted to a folder next "
                f"to that file; pass the path of the manifest to write, such as {argument('out', 'items.csv')}"
            )
        folder = out.with_name(f"{out.stem}-media")
        extracted = extract_media(layout, folder, choice, seed)
        try:
            yield extracted
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    elif isinstance(source, Path) and source.is_dir():
        yield build_manifest(source, list(choice.modalities or ()), seed)
    elif choice.modalities:
        raise InputError(
            f"{source}: {argument('modalities')} does not apply to a manifest, because its columns define its "
            f"modalities; omit {argument('modalities')}"
        )
    else:
        yield _with_all_splits(read_manifest(source), seed, draws=out is not None)


def _with_all_splits(manifest: Manifest, seed: int, draws: bool) -> tuple[Manifest, tuple[str, ...]]:
    """Turn random training groups into a missing validation or test split. Return the manifest and notes about it.

    If `draws` is False, the manifest does not change, and the notes name the missing splits. If there are no training
    items, nothing changes and there are no notes.
    """
    splits = [row.split for row in manifest.rows]
    missing = [split for split in ("validation", "test") if split not in splits]
    if "train" not in splits or not missing:
        return manifest, ()
    if not draws:
        names = " and no ".join(missing)
        return manifest, (f"no {names} items, but distillation needs them; {argument('out', 'FILE.csv')} draws them",)
    drawn, notes = draw_missing(splits, [row.group for row in manifest.rows], seed)
    rows = tuple(replace(row, split=split) for row, split in zip(manifest.rows, drawn, strict=True))
    return replace(manifest, rows=rows), tuple(notes)


def _is_manifest(source: Source, layout: ArrowDataset) -> bool:
    """Return whether a Parquet file is a manifest, which contains paths instead of media."""
    return isinstance(source, Path) and source.is_file() and not layout.has_media
