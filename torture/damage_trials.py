"""Files that are deleted, cut or altered: every reader ends well or refuses the file in one line.

An altered tensor file must be found by `inspect --verify`. An interrupted run that lost a file must end with the result
of an uninterrupted run, or say what to delete, after which it must do so.
"""

from __future__ import annotations

import random
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

from small_runs import SMALL
from torture.commands import COMMANDS, Command
from torture.forked import run, start
from torture.options import Options
from torture.trial import Trial
from torture.workplace import Workplace, workplace

DAMAGES = ("deleted", "half", "a flipped bit")
MOST = 40
"""Damages per command."""
FLIPS = 3
"""Bits to flip per file, one after the other."""
READERS: dict[str, tuple[tuple[object, ...], ...]] = {
    "pack": (("distill", "OUT", *SMALL, "-o", "NEW"),),
    "encode": (("distill", "OUT", *SMALL, "-o", "NEW"),),
    "heads": (("distill", "SET", *SMALL, "--heads", "OUT", "-o", "NEW"),),
    "experts": (),
    "distill": (("report", "OUT", "-o", "page.html"), ("export", "OUT", "-o", "rows.npz"), ("cite", "OUT")),
    "evaluate": (("report", "RUN", "-o", "page.html"),),
    "compare": (("cite", "OUT"),),
    "migrate": (("apply", "OUT", "old.npy", "-o", "mapped.npy"),),
}
"""{command: commands that read its output, in addition to `inspect` and the command itself}."""


def trials(options: Options) -> Iterator[Trial]:
    """Damage the output of every command, and the files of an interrupted run."""
    draw = random.Random(options.seed)
    with workplace() as work:
        for command in (each for each in COMMANDS if each.name in READERS and options.includes(each.name)):
            work.reference(command)
            work.renew()
            run(command.words, work.place)
            whole = shutil.copytree(work.place, work.place.with_name("whole"))
            for file, damage in _damages(whole, command.outputs, options, draw):
                work.renew()
                _restore(work, whole)
                detail = read_damaged(work, command, file, damage, draw)
                yield Trial(f"damage: {command.name}: {damage}, {file}", not detail, detail)
            shutil.rmtree(whole)
        yield from _interrupted(work, options, draw)


def read_damaged(work: Workplace, command: Command, file: Path, damage: str, draw: random.Random) -> str:
    """Damage a file of a command's output, and read it. Return what went wrong, or an empty string."""
    if not apply(work.place / file, damage, draw):
        return ""
    inspect = ("inspect", file.parts[0], "--verify")
    repeat = (*command.words, *command.resume)
    for words in (inspect, *READERS[command.name], repeat):
        outcome = run(words, work.place)
        if problem := outcome.problem(0, 2):
            return f"{words[0]}: {problem}"
        if words == inspect and file.suffix == ".safetensors" and outcome.code == 0 and len(file.parts) == 2:
            return "inspect --verify finds no damage"
    return ""


def _interrupted(work: Workplace, options: Options, draw: random.Random) -> Iterator[Trial]:
    """Yield a trial for every file of an interrupted run, and every damage."""
    command = next(each for each in COMMANDS if each.name == "distill")
    work.reference(command)
    work.renew()
    child = start(command.words, work.place)
    while child.running(0.01) and not (work.place / "OUT" / "checkpoint" / "manifest.json").exists():
        pass
    child.send(signal.SIGTERM)
    outcome = child.wait()
    if problem := outcome.problem(143):
        yield Trial("damage: interrupted run: it is interrupted", False, problem)
        return
    whole = shutil.copytree(work.place, work.place.with_name("whole"))
    for file, damage in _damages(whole, command.outputs, options, draw):
        work.renew()
        _restore(work, whole)
        detail = resume_damaged(work, command, file, damage, draw) if apply(work.place / file, damage, draw) else ""
        yield Trial(f"damage: interrupted run: {damage}, {file}", not detail, detail)
    shutil.rmtree(whole)


def resume_damaged(work: Workplace, command: Command, file: Path, damage: str, draw: random.Random) -> str:
    """Resume a damaged run, and delete what it says. Return what went wrong, or an empty string."""
    words = (*command.words, *command.resume)
    for _ in range(3):
        outcome = run(words, work.place)
        if problem := outcome.problem(0, 2):
            return problem
        if outcome.code == 0:  # in a text file without a checksum, a flipped bit can change one digit into another
            undetectable = damage == "a flipped bit" and file.suffix in (".json", ".jsonl")
            return "" if undetectable else work.difference(command)
        advised = re.search(r"delete (?:the )?(?:folder |file )?(\S+OUT\S*|OUT\S*)", outcome.line)
        if "delete this file" in outcome.line:
            advised = re.search(r": (\S*OUT\S*): ", outcome.line)
        if advised is None:
            break
        target = work.place / advised[1].rstrip(";,:)")
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)
    return "" if file.name == "run.json" else f"says neither what to delete nor ends: {outcome.line}"


def apply(path: Path, damage: str, draw: random.Random) -> bool:
    """Damage a file; return whether it is changed."""
    data = path.read_bytes()
    match damage:
        case "deleted":
            path.unlink()
            return True
        case "half":
            changed = bytearray(data[: len(data) // 2])
        case _:
            changed = bytearray(data)
            if data:
                place = draw.randrange(len(data))
                changed[place] ^= 1 << draw.randrange(8)
    path.write_bytes(changed)
    return bytes(changed) != data


def _damages(place: Path, outputs: tuple[str, ...], options: Options, draw: random.Random) -> list[tuple[Path, str]]:
    """Return the files below the outputs, each with every damage; a share of them for a quick try."""
    files = [path for name in outputs for path in [place / name, *sorted((place / name).rglob("*"))] if path.is_file()]
    names = [path.relative_to(place) for path in files if path.name != ".lock"]
    pairs = [(name, damage) for name in names for damage in (*DAMAGES, *["a flipped bit"] * (FLIPS - 1))]
    return draw.sample(pairs, min(options.number(MOST), len(pairs)))


def _restore(work: Workplace, whole: Path) -> None:
    shutil.rmtree(work.place)
    shutil.copytree(whole, work.place)
