"""Hostile files: every reader meets every damage, costly small files, and forged values.

A command passes if it accepts the file, or refuses it in one line; in both cases without a traceback, control
characters in its output, or more memory than `MOST_BYTES`.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from torture.costly_files import COSTLY
from torture.forged_json import forge, forgeries, name_of, write_json
from torture.hostile_bytes import DAMAGES
from torture.measured_command import in_fork
from torture.options import Options
from torture.readers import READERS, Reader
from torture.sample_files import write_samples
from torture.trial import Trial

FORGERIES = 40
"""Number of forged values per JSON file."""


def trials(options: Options) -> Iterator[Trial]:
    """Try all hostile files."""
    with tempfile.TemporaryDirectory(prefix="torture-") as place:
        samples = Path(place) / "samples"
        in_fork(lambda: write_samples(samples))
        yield from damaged(samples, options.number(len(DAMAGES)))
        yield from costly(samples)
        yield from forged(samples, options.number(FORGERIES), options.seed)


def damaged(samples: Path, number: int) -> Iterator[Trial]:
    """Yield this many trials for every reader, each with another damage."""
    names = list(DAMAGES)
    for turn, reader in enumerate(READERS):
        for name in [names[(turn + place) % len(names)] for place in range(number)]:
            yield attempt(samples, reader, name, DAMAGES[name])


def costly(samples: Path) -> Iterator[Trial]:
    """Yield a trial for every costly file."""
    by_name = {reader.name: reader for reader in READERS}
    for name, (reader, write) in COSTLY.items():
        yield attempt(samples, by_name[reader], name, write)


def forged(samples: Path, number: int, seed: int = 0) -> Iterator[Trial]:
    """Yield this many trials for every JSON file that a reader reads."""
    for reader in READERS:
        path = only(samples, reader)
        if path.suffix in (".json", ".jsonl"):
            first = path.read_text("utf-8").splitlines()[0] if path.suffix == ".jsonl" else ""
            for place, value in forgeries(_as_json(path, first, samples), number, seed):
                yield attempt(samples, reader, name_of(place, value), partial(_forge, place=place, value=value))


def attempt(samples: Path, reader: Reader, name: str, damage: Callable[[Path], object]) -> Trial:
    """Damage a copy of the reader's samples, run its command, and return the result."""
    with tempfile.TemporaryDirectory(prefix="torture-") as place:
        folder = Path(place)
        for sample in reader.samples:
            source = samples / sample
            shutil.copytree(source, folder / sample) if source.is_dir() else shutil.copy(source, folder / sample)
        in_fork(lambda: damage(only(folder, reader)))
        outcome = reader.run(folder)
    problem = outcome.problem()
    lines = outcome.err.strip().splitlines()
    said = lines[-1].replace(str(folder), "") if lines else f"exit code {outcome.code}"
    return Trial(f"hostile: {reader.name}: {name}", not problem, problem or said)


def only(folder: Path, reader: Reader) -> Path:
    """Return the file of a reader below a folder with its samples."""
    (path,) = folder.glob(reader.file)
    return path


def _as_json(path: Path, first: str, samples: Path) -> Path:
    """Return a JSON file with the places of `path`: the file, or a copy of the first line of a .jsonl file."""
    if not first:
        return path
    copied = samples / f"first-line-of-{path.name}.json"
    copied.write_text(first, "utf-8")
    return copied


def _forge(file: Path, place: tuple[str | int, ...], value: Any) -> None:
    if file.suffix == ".json":
        forge(file, place, value)
        return
    first, *others = file.read_text("utf-8").splitlines()
    line = file.with_name("line.json")
    write_json(line, json.loads(first))
    forge(line, place, value)
    file.write_text("\n".join([line.read_text("utf-8"), *others]) + "\n", "utf-8")
    line.unlink()
