"""Check that the files of a manifest are readable and complete, and find duplicates across splits.

If a modality of an item is missing or its file cannot be used, the item is dropped and counted, or the check fails.
Duplicates across splits only cause a warning, because the user must decide which of them to drop.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError
from omnidistill.encoding.manifests.manifest import Manifest, Missing, Row
from omnidistill.encoding.media.container import MediaError
from omnidistill.encoding.media.picture import read_picture
from omnidistill.encoding.media.probe import Probe, check_complete, probe
from omnidistill.io.tracking import Progress, SilentProgress

ABSENT, NO_FILE, EMPTY, OUTSIDE = "absent", "no such file", "empty", "outside the root"
UNREADABLE, TRUNCATED, NO_TRACK, TOO_SHORT = "unreadable", "truncated", "no such track", "ends before its start"
WHATS = (ABSENT, NO_FILE, EMPTY, OUTSIDE, UNREADABLE, TRUNCATED, NO_TRACK, TOO_SHORT)

_Fault = tuple[str, str]  # one of WHATS, and the message for the user
_EXAMPLES = 3


@dataclass(frozen=True)
class Problem:
    """The reason why a modality of an item cannot be used.

    Attributes:
        id: id of the item.
        modality: modality that cannot be used.
        what: kind of problem, such as "truncated"; one of `WHATS`.
        detail: message for the user.
    """

    id: str
    modality: str
    what: str
    detail: str


@dataclass(frozen=True)
class Duplicate:
    """Two items of different splits that are identical in one modality: same file content, start and end."""

    modality: str
    ids: tuple[str, str]
    splits: tuple[str, str]


@dataclass(frozen=True)
class Checked:
    """Result of a check.

    Attributes:
        manifest: manifest of the usable items.
        total: number of checked items.
        problems: one entry for each missing or unusable modality of an item.
        duplicates: pairs of usable items in different splits that are identical in one modality.
        notes: notes for the user about how the manifest was created.
    """

    manifest: Manifest
    total: int
    problems: tuple[Problem, ...]
    duplicates: tuple[Duplicate, ...]
    notes: tuple[str, ...] = ()

    def table(self) -> list[tuple[str, ...]]:
        """Return a table of item counts: a header, a row for usable items, and a row per kind of problem found.

        The first column names the row; then there is one column per modality. If there are problems, the last column
        contains the id of one affected item for each kind of problem.
        """
        kinds = self.manifest.kinds
        counts: dict[str, dict[str, int]] = {what: dict.fromkeys(kinds, 0) for what in ("usable", *WHATS)}
        counts["usable"] = dict.fromkeys(kinds, self.total)
        examples: dict[str, str] = {}
        for problem in self.problems:
            counts[problem.what][problem.modality] += 1
            counts["usable"][problem.modality] -= 1
            examples.setdefault(problem.what, problem.id)
        rows = [
            (what, *(f"{count:,}" for count in row.values()), examples.get(what, ""))
            for what, row in counts.items()
            if what == "usable" or any(row.values())
        ]
        table = [("", *kinds, "for example"), *rows]
        return table if examples else [row[:-1] for row in table]

    def lines(self) -> list[str]:
        """Return a text report: the number of usable items, warnings about duplicates across splits, and notes."""
        splits = [row.split for row in self.manifest.rows]
        counts = ", ".join(f"{split} {splits.count(split):,}" for split in dict.fromkeys(splits))
        summary = f"{len(self.manifest):,} of {self.total:,} items can be used: {counts}"
        pairs: dict[tuple[str, ...], list[Duplicate]] = defaultdict(list)
        for duplicate in self.duplicates:
            pairs[duplicate.modality, *duplicate.splits].append(duplicate)
        notes = (f"note   {note}" for note in self.notes)
        return [summary, *(_warning(duplicates) for duplicates in pairs.values()), *notes]


def check_manifest(manifest: Manifest, missing: Missing = "drop", progress: Progress | None = None) -> Checked:
    """Check every modality of every item of a manifest.

    Args:
        manifest: the manifest to check.
        missing: how to handle items with a missing modality or an unusable file: "drop" omits them, "fail" raises
            InputError.
        progress: shows the number of checked items; None shows nothing.

    Raises:
        InputError: no item can be used, or `missing` is "fail" and an item cannot be used.
    """
    seen: dict[Path | str, Probe | _Fault] = {}
    problems: list[Problem] = []
    with progress or SilentProgress() as shown:
        shown.start(len(manifest), "check")
        for row in manifest.rows:
            problems += [problem for name in manifest.kinds if (problem := _problem(manifest, row, name, seen))]
            shown.advance()
    bad = {problem.id for problem in problems}
    if problems and missing == "fail":
        raise InputError(
            f"{len(bad):,} of {len(manifest):,} items cannot be used (first problem: {problems[0].detail}); correct "
            f"them, or omit them with {argument('missing', 'drop')}"
        )
    good = tuple(row for row in manifest.rows if row.id not in bad)
    if not good and all(problem.what == ABSENT for problem in problems):
        raise InputError(
            f"none of the {len(manifest):,} items has all modalities ({', '.join(manifest.kinds)}); for "
            f"example, {problems[0].detail}; give the files of an item the same name, or list the items in a table "
            f"with the columns {', '.join(['id', 'split', *manifest.kinds])}"
        )
    if not good:
        raise InputError(
            f"none of the {len(manifest):,} items can be used (first problem: {problems[0].detail}); correct the files"
        )
    usable = replace(manifest, rows=good)
    return Checked(usable, len(manifest), tuple(problems), tuple(_duplicates(usable)))


def _problem(manifest: Manifest, row: Row, name: str, seen: dict[Path | str, Probe | _Fault]) -> Problem | None:
    """Return the problem with one modality of an item, or None. `seen` caches the results for files."""
    fault = _fault(manifest, row, name, seen)
    return None if fault is None else Problem(row.id, name, *fault)


def _fault(manifest: Manifest, row: Row, name: str, seen: dict[Path | str, Probe | _Fault]) -> _Fault | None:
    kind = manifest.kinds[name]
    if name not in row.media:
        return ABSENT, f"id {row.id!r}: no {name}"
    if kind == "text":
        return None if row.media[name].strip() else (EMPTY, f"id {row.id!r}: {name} is only white space")
    try:
        content = manifest.content(row, name)
    except InputError as error:
        return OUTSIDE, str(error)
    if content not in seen:
        seen[content] = _examine(content)
    result = seen[content]
    if not isinstance(result, Probe):
        return result
    if not (result.has_audio if kind == "audio" else result.kind == kind):
        return NO_TRACK, f"{content}: contains no {kind}"
    if row.start is not None and result.duration is not None and row.start >= result.duration:
        return TOO_SHORT, f"{content}: lasts {result.duration:.2f} s, but the clip starts at {row.start:.2f} s"
    return None


def _examine(content: Path | str) -> Probe | _Fault:
    """Return the properties of a file, or the reason why it cannot be used."""
    try:
        if isinstance(content, Path) and content.stat().st_size == 0:
            return EMPTY, f"{content}: zero bytes"
        result = probe(content)
    except FileNotFoundError:
        return NO_FILE, f"{content}: no such file"
    except (OSError, MediaError) as error:
        return UNREADABLE, str(error)
    try:
        if result.kind == "image":
            read_picture(Path(content))
        else:
            check_complete(content)
    except MediaError as error:
        return TRUNCATED, str(error)
    return result


def _duplicates(manifest: Manifest) -> Iterator[Duplicate]:
    """Yield the duplicates across splits. To save time, only files of the same size are compared."""
    digests: dict[Path, str] = {}
    for name, kind in manifest.kinds.items():
        sizes: dict[int, list[tuple[Row, Path]]] = defaultdict(list)
        for row in manifest.rows if kind != "text" else ():
            if isinstance(path := manifest.content(row, name), Path):
                sizes[path.stat().st_size].append((row, path))
        for _, same in sorted(sizes.items()):
            if len({row.split for row, _ in same}) > 1:
                yield from _same_bytes(name, same, digests)


def _same_bytes(name: str, rows: list[tuple[Row, Path]], digests: dict[Path, str]) -> Iterator[Duplicate]:
    first: dict[tuple[object, ...], Row] = {}
    for row, path in rows:
        if path not in digests:
            with path.open("rb") as file:
                digests[path] = hashlib.file_digest(file, "sha256").hexdigest()
        other = first.setdefault((digests[path], row.start, row.end), row)
        if other.split != row.split:
            yield Duplicate(name, (row.id, other.id), (row.split, other.split))


def _warning(duplicates: list[Duplicate]) -> str:
    name, (split, other) = duplicates[0].modality, duplicates[0].splits
    pairs = ", ".join(f"{a!r} = {b!r}" for a, b in (duplicate.ids for duplicate in duplicates[:_EXAMPLES]))
    return f"WARNING: {len(duplicates):,} {split} items have the same {name} as {other} items (data leak): {pairs}"
