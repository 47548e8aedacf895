"""What of a manifest can be used: every file is opened, its end decoded, and compared with those of other splits.

An item that lacks a modality, or has one that cannot be used, is dropped and counted, or the check fails. Duplicates
across splits are told and not dropped: which of them is the right one is not for a check to say.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from omnidistill.core.errors import InputError
from omnidistill.encoding.manifests.manifest import Manifest, Missing, Row
from omnidistill.encoding.media.container import MediaError
from omnidistill.encoding.media.picture import read_picture
from omnidistill.encoding.media.probe import Probe, check_whole, probe
from omnidistill.io.tracking import Progress, SilentProgress

ABSENT, NO_FILE, EMPTY, OUTSIDE = "absent", "no such file", "empty", "outside the root"
UNREADABLE, TRUNCATED, NO_TRACK, TOO_SHORT = "unreadable", "truncated", "no such track", "ends before its start"
WHATS = (ABSENT, NO_FILE, EMPTY, OUTSIDE, UNREADABLE, TRUNCATED, NO_TRACK, TOO_SHORT)

_Fault = tuple[str, str]  # one of WHATS, and a line for people
_EXAMPLES = 3


@dataclass(frozen=True)
class Problem:
    """A modality of an item that cannot be used. what: one of WHATS. detail: a line for people."""

    id: str
    modality: str
    what: str
    detail: str


@dataclass(frozen=True)
class Duplicate:
    """Two items of different splits with the same bytes, and the same stretch of them, in a modality."""

    modality: str
    ids: tuple[str, str]
    splits: tuple[str, str]


@dataclass(frozen=True)
class Checked:
    """What was found. manifest: the rows that can be used. total: how many there were."""

    manifest: Manifest
    total: int
    problems: tuple[Problem, ...]
    duplicates: tuple[Duplicate, ...]

    def table(self) -> list[tuple[str, ...]]:
        """A header and a line for each thing found: how often in each modality, and an example of what is wrong."""
        kinds = self.manifest.kinds
        counts: dict[str, dict[str, int]] = {what: dict.fromkeys(kinds, 0) for what in ("usable", *WHATS)}
        counts["usable"] = dict.fromkeys(kinds, self.total)
        examples: dict[str, str] = {}
        for problem in self.problems:
            counts[problem.what][problem.modality] += 1
            counts["usable"][problem.modality] -= 1
            examples.setdefault(problem.what, problem.id)
        lines = [
            (what, *(f"{count:,}" for count in row.values()), examples.get(what, ""))
            for what, row in counts.items()
            if what == "usable" or any(row.values())
        ]
        table = [("", *kinds, "for example"), *lines]
        return table if examples else [line[:-1] for line in table]

    def lines(self) -> list[str]:
        """The findings for people, one a line: what is left, and duplicates across splits by the splits that share."""
        splits = [row.split for row in self.manifest.rows]
        counts = ", ".join(f"{split} {splits.count(split):,}" for split in dict.fromkeys(splits))
        left = f"{len(self.manifest):,} of {self.total:,} items can be used: {counts}"
        pairs: dict[tuple[str, ...], list[Duplicate]] = defaultdict(list)
        for duplicate in self.duplicates:
            pairs[duplicate.modality, *duplicate.splits].append(duplicate)
        return [left, *(_warning(found) for found in pairs.values())]


def check_manifest(manifest: Manifest, missing: Missing = "drop", progress: Progress | None = None) -> Checked:
    """Look at every cell of a manifest.

    missing: what becomes of items that lack a modality or whose file cannot be used: "drop" leaves them out, "fail"
    makes them an error. Raises InputError for it, and if no item is left.
    """
    seen: dict[Path | str, Probe | _Fault] = {}
    problems: list[Problem] = []
    with progress or SilentProgress() as shown:
        shown.start(len(manifest), "check")
        for row in manifest.rows:
            problems += [found for name in manifest.kinds if (found := _problem(manifest, row, name, seen))]
            shown.advance()
    bad = {problem.id for problem in problems}
    if problems and missing == "fail":
        raise InputError(
            f"{len(bad):,} of {len(manifest):,} items cannot be used, the first for {problems[0].detail}; "
            "mend them, or have them dropped"
        )
    kept = tuple(row for row in manifest.rows if row.id not in bad)
    if not kept:
        raise InputError(f"none of {len(manifest):,} items can be used, the first for {problems[0].detail}")
    left = replace(manifest, rows=kept)
    return Checked(left, len(manifest), tuple(problems), tuple(_duplicates(left)))


def _problem(manifest: Manifest, row: Row, name: str, seen: dict[Path | str, Probe | _Fault]) -> Problem | None:
    """What keeps a cell from being used. seen: what is known of files that were looked at before."""
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
        seen[content] = _examined(content)
    found = seen[content]
    if not isinstance(found, Probe):
        return found
    if not (found.has_audio if kind == "audio" else found.kind == kind):
        return NO_TRACK, f"{content}: no {kind} in it"
    if row.start is not None and found.duration is not None and row.start >= found.duration:
        return TOO_SHORT, f"{content}: lasts {found.duration:.2f} s, its stretch begins at {row.start:.2f} s"
    return None


def _examined(content: Path | str) -> Probe | _Fault:
    """What a file is, or what is wrong with it."""
    try:
        if isinstance(content, Path) and content.stat().st_size == 0:
            return EMPTY, f"{content}: zero bytes"
        found = probe(content)
    except FileNotFoundError:
        return NO_FILE, f"{content}: no such file"
    except (OSError, MediaError) as error:
        return UNREADABLE, str(error)
    try:
        if found.kind == "image":
            read_picture(Path(content))
        else:
            check_whole(content)
    except MediaError as error:
        return TRUNCATED, str(error)
    return found


def _duplicates(manifest: Manifest) -> Iterator[Duplicate]:
    """Only files of one size are read, small ones first."""
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


def _warning(found: list[Duplicate]) -> str:
    name, (split, other) = found[0].modality, found[0].splits
    pairs = ", ".join(f"{a!r} = {b!r}" for a, b in (duplicate.ids for duplicate in found[:_EXAMPLES]))
    return f"WARNING: {len(found):,} items of {split} have the {name} of an item of {other} (leak): {pairs}"
