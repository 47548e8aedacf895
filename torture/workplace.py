"""The commands that are tried, a folder with their input, and a comparison of what they wrote.

Every trial begins with a fresh copy of the input, at the same path, so that equal commands write equal files.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from comparison_problems import FLAGS
from encoding_problems import Files, Letters, write_manifest
from migration_problems import planted
from omnidistill.encoding.encoders import encoders
from omnidistill.encoding.manifests.write_manifest import write_manifest as save_manifest
from omnidistill.evaluation.baselines import random_real_rows
from omnidistill.evaluation.validation import doubling_steps
from omnidistill.io.artifacts.files import is_temp
from small_runs import SMALL, features, packed
from torture.forked import Outcome, run

LEARN = (
    *SMALL,
    *("--set", "distill.iterations=30"),
    *("--set", "distill.validate_every=10"),
    *("--set", "distill.checkpoint_seconds=0.02"),
)
ENCODING = ("--shard", 4, "--batch", 2, "--workers", 0, "--no-centre")
MIGRATION = ("--size", 8, "--baselines", "none", "--force")


@dataclass(frozen=True)
class Command:
    """A command that is tried.

    Attributes:
        name: name of the command.
        words: the command; paths are relative to the folder of the input.
        outputs: the files and folders that it writes.
        resume: words to add when the command is repeated after an interruption.
    """

    name: str
    words: tuple[object, ...]
    outputs: tuple[str, ...]
    resume: tuple[str, ...] = ()

    def again(self, place: Path) -> Outcome:
        """Repeat the command after an interruption, as its message advises. Output that is complete is left alone."""
        outcome = run([*self.words, *self.resume], place)
        if outcome.code == 2 and "--force" in outcome.err and "--force" not in self.words:
            return Outcome(0, outcome.out, "")  # the caller compares the output
        return outcome


COMMANDS = (
    Command("pack", ("pack", "--features", "f.npz", "--table", "t.csv", "-o", "OUT"), ("OUT",)),
    Command("manifest", ("manifest", "media", "-o", "media/list.csv"), ("media/list.csv",)),
    Command(
        "encode",
        ("encode", "items/items.csv", "--encoder", "letters", "--encoder", "sound=files", *ENCODING, "-o", "OUT"),
        ("OUT",),
    ),
    Command("heads", ("heads", "SET", *SMALL, "-o", "OUT"), ("OUT",)),
    Command("experts", ("experts", "SET", *SMALL, "--set", "experts.num_experts=3", "-o", "OUT"), ("OUT",)),
    Command("distill", ("distill", "SET", *LEARN, "-o", "OUT"), ("OUT",), ("--resume",)),
    Command("distill pairs", ("distill", "SET", *LEARN, "--set", "joint=false", "-o", "OUT"), ("OUT",), ("--resume",)),
    Command("evaluate", ("evaluate", "RUN", "--seeds", 2), ("RUN",)),
    Command("report", ("report", "RUN", "-o", "page.html"), ("page.html",)),
    Command("export npz", ("export", "RUN", "-o", "rows.npz"), ("rows.npz",)),
    Command("export parquet", ("export", "RUN", "-o", "rows.parquet"), ("rows.parquet",)),
    Command("diagnose", ("diagnose", "RUN", "--steps", 2, "--force"), ("RUN",)),
    Command(
        "compare",
        ("compare", "SET", "--methods", "apm,hopa", "--sizes", 8, "--seeds", 0, "--students", 2, *FLAGS, "-o", "OUT"),
        ("OUT",),
        ("--resume",),
    ),
    Command(
        "migrate",
        ("migrate", "old.npy", "new.npy", *MIGRATION, "--iterations", 2, "-o", "OUT"),
        ("OUT", "OUT-report.md", "OUT-report.json", "OUT-report.html"),
    ),
    Command("apply", ("apply", "KIT", "old.npy", "-o", "mapped.npy"), ("mapped.npy",)),
)


class Workplace:
    """A folder with the input of all commands, which is renewed for every trial."""

    def __init__(self, root: Path) -> None:
        self.place, self._start = root / "place", root / "start"
        prepare_process()
        self.place.mkdir()
        _write_input(self.place)
        shutil.copytree(self.place, self._start)
        self._references: dict[str, dict[str, Any]] = {}

    def renew(self) -> Path:
        """Restore the input, delete everything else, and return the folder."""
        shutil.rmtree(self.place)
        shutil.copytree(self._start, self.place)
        return self.place

    def reference(self, command: Command) -> dict[str, Any]:
        """Return the content of the files that the command writes without interruption."""
        if command.name not in self._references:
            outcome = run(command.words, self.renew())
            if problem := outcome.problem(0):
                raise RuntimeError(f"{command.name}: {problem}")
            self._references[command.name] = written(self.place, command)
        return self._references[command.name]

    def finished(self, command: Command) -> str:
        """Repeat an interrupted command until it ends. Return what is wrong afterwards, or an empty string."""
        outcome = command.again(self.place)
        if problem := outcome.problem(0):
            return f"repeated: {problem}"
        temps = [path.name for path in self.place.rglob(".omnidistill-temp-*")]
        if temps and outcome.out:
            return f"temporary files remain: {', '.join(temps)}"
        return self.difference(command)

    def difference(self, command: Command) -> str:
        """Return how the files in the folder differ from those of the reference, or an empty string."""
        return difference(self.reference(command), written(self.place, command))


def written(place: Path, command: Command) -> dict[str, Any]:
    """Return {path: content} of the files that a command wrote, without times, locks and temporary files.

    A crash after the last file leaves a complete output and temporary files. The next command that writes there
    deletes them; a repeated command that refuses to replace the output does not.
    """
    paths = [path for name in command.outputs for path in [place / name, *sorted((place / name).rglob("*"))]]
    kept = (path for path in paths if path.is_file() and path.name != ".lock" and not is_temp(path))
    return {str(path.relative_to(place)): _content(path) for path in kept}


def difference(expected: dict[str, Any], found: dict[str, Any]) -> str:
    """Return how the second dict differs from the first, or an empty string."""
    changed = [name for name in expected if name in found and expected[name] != found[name]]
    parts = {"missing": expected.keys() - found.keys(), "unexpected": found.keys() - expected.keys()}
    parts = {**parts, "different": set(changed)}
    return "; ".join(f"{what}: {', '.join(sorted(names)[:4])}" for what, names in parts.items() if names)


def _content(path: Path) -> Any:
    """Return the content of a file. Of pages and tables, which show times, only whether they are complete."""
    if path.name == "timings.json":
        return sorted(json.loads(path.read_text("utf-8")))
    if path.suffix == ".jsonl":
        return [_without_times(json.loads(line)) for line in path.read_text("utf-8").splitlines()]
    if path.suffix == ".json":
        return _without_times(json.loads(path.read_text("utf-8")))
    if path.suffix in (".html", ".md", ".csv", ".tex", ".txt", ".svg") and path.name != "list.csv":
        return bool(path.stat().st_size)
    return path.read_bytes()


_TIMES = re.compile(r"seconds|sha256|command|peak|memory|per_second")


def _without_times(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _without_times(value) for key, value in tree.items() if not _TIMES.search(key)}
    return [_without_times(each) for each in tree] if isinstance(tree, list) else tree


@contextmanager
def workplace() -> Iterator[Workplace]:
    """Yield a workplace in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="torture-") as root:
        yield Workplace(Path(root).resolve())


def prepare_process() -> None:
    """Register the encoders of the tests, and train random rows as briefly as the tests do."""
    for name, encoder in {"letters": Letters, "files": Files}.items():
        if name not in encoders:
            encoders.register(name)(lambda source, device, encoder=encoder: encoder())
    setattr(random_real_rows, "doubling_steps", lambda longest: doubling_steps(min(longest, 16)))  # noqa: B010


def _write_input(place: Path) -> None:
    packed(place / "SET", features(2))
    draw, splits = np.random.default_rng(0).normal(size=(2, 12, 5)), ["train"] * 6 + ["validation"] * 3 + ["test"] * 3
    np.savez(place / "f.npz", a=draw[0], b=draw[1])
    rows = [f"i{number},g{number},{split}" for number, split in enumerate(splits)]
    (place / "t.csv").write_text("\n".join(["id,group,split", *rows]))
    save_manifest(write_manifest(place / "items"), place / "items" / "items.csv")
    (place / "media" / "train").mkdir(parents=True)
    for number in range(6):
        (place / "media" / "train" / f"{number}.txt").write_text(f"a caption with number {number}")
    for name, array in zip(("old", "new"), planted(120), strict=True):
        np.save(place / f"{name}.npy", array)
    migrate = ("migrate", "old.npy", "new.npy", *MIGRATION, "--iterations", 0, "-o", "KIT")
    for words in (("distill", "SET", *SMALL, "-o", "RUN"), migrate):
        if problem := run(words, place).problem(0):
            raise RuntimeError(f"{words[0]}: {problem}")
