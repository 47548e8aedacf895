"""A folder with the input of all commands, and a comparison of what they wrote.

Every trial begins with a fresh copy of the input, at the same path, so that equal commands write equal files.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from encoding_problems import Files, Letters, write_manifest
from migration_problems import planted
from omnidistill.data.store import save_features
from omnidistill.encoding.encoders import encoders
from omnidistill.encoding.manifests import benchmarks
from omnidistill.encoding.manifests.write_manifest import write_manifest as save_manifest
from omnidistill.evaluation.baselines import random_real_rows
from omnidistill.evaluation.validation import doubling_steps
from omnidistill.io.artifacts.files import is_temp
from paper_problems import stand_in
from published_problems import languagebind_folder, languagebind_state
from small_runs import SMALL, features, packed
from torture.commands import MIGRATION, Command
from torture.forked import run
from torture.libraries import import_libraries
from torture.local_hub import local_hub


class Workplace:
    """A folder with the input of all commands, which is renewed for every trial."""

    def __init__(self, root: Path) -> None:
        self.place, self._start = root / "place", root / "start"
        prepare_process()
        self.place.mkdir(exist_ok=True)
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
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        root = Path(folder).resolve()
        with local_hub(root / "place" / "HUB"):
            import_libraries()
            yield Workplace(root)


def prepare_process() -> None:
    """Register the encoders of the tests, and shorten the training of random rows and a benchmark as the tests do."""
    for name, encoder in {"letters": Letters, "files": Files}.items():
        if name not in encoders:
            encoders.register(name)(lambda source, device, encoder=encoder: encoder())
    setattr(random_real_rows, "doubling_steps", lambda longest: doubling_steps(min(longest, 16)))  # noqa: B010
    setattr(benchmarks, "VGGSOUND_S", {"train": 10, "test": 5})  # noqa: B010


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
    (place / "benchmark").mkdir()
    lines = [f"-id{number},{number},label {number},{'test' if number > 9 else 'train'}" for number in range(15)]
    (place / "benchmark" / "vggsound.csv").write_text("\n".join(lines))
    for number in range(15):
        (place / "benchmark" / f"-id{number}_{number}.mp4").write_bytes(b"film")
    languagebind_folder(place / "model", languagebind_state())
    save_features(stand_in("msrvtt"), place / "MSRVTT")
    migrate = ("migrate", "old.npy", "new.npy", *MIGRATION, "--iterations", 0, "-o", "KIT")
    push = ("push", "RUN", "someone/shared", "--licence", "CC-BY-4.0")
    for words in (("distill", "SET", *SMALL, "-o", "RUN"), migrate, push):
        if problem := run(words, place).problem(0):
            raise RuntimeError(f"{words[0]}: {problem}")
