"""The commands that are tried: their words, and the files and folders that they write. Paths are relative."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from comparison_problems import FLAGS
from paper_problems import SHORTER
from small_runs import SMALL
from torture.forked import Outcome, run

LEARN = (
    *SMALL,
    *("--set", "distill.iterations=30"),
    *("--set", "distill.validate_every=10"),
    *("--set", "distill.checkpoint_seconds=0.02"),
)
ENCODING = ("--shard", 4, "--batch", 2, "--workers", 0, "--no-centre")
MIGRATION = ("--size", 8, "--baselines", "none", "--force")
PAPER = (
    *("--tables", 1, "--sizes", 100, "--seeds", 0, "--students", 2),
    *(word for setting in SHORTER for word in ("--set", setting)),
)


@dataclass(frozen=True)
class Command:
    """A command that is tried.

    Attributes:
        name: name of the command.
        words: the command.
        outputs: the files and folders that it writes.
        resume: words to add when the command is repeated after an interruption.
        takes_long: whether the command takes seconds, so it is tried a few times only.
    """

    name: str
    words: tuple[object, ...]
    outputs: tuple[str, ...]
    resume: tuple[str, ...] = ()
    takes_long: bool = False

    def attempts(self, full: int) -> int:
        """Return how many of `full` attempts to make with this command."""
        return max(2, full // 5) if self.takes_long else full

    def again(self, place: Path) -> Outcome:
        """Repeat the command after an interruption, as its message advises. Output that is complete is left alone."""
        outcome = run([*self.words, *self.resume], place)
        if outcome.code == 2 and "--force" in outcome.err and "--force" not in self.words:
            return Outcome(0, "", "")  # it wrote nothing; the caller compares the output
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
    Command("recipe", ("recipe", "vggsound-s", "benchmark", "-o", "benchmark/list.csv"), ("benchmark/list.csv",)),
    Command("convert", ("convert", "languagebind", "model", "--modality", "video", "-o", "OUT"), ("OUT",)),
    Command("push", ("push", "RUN", "someone/pushed", "--licence", "CC-BY-4.0"), ("HUB/someone/pushed",)),
    Command("pull", ("pull", "someone/shared", "-o", "OUT"), ("OUT",)),
    Command("demo", ("demo", "--quick", "-o", "OUT"), ("OUT",), takes_long=True),
    Command("paper", ("paper", "--msrvtt", "MSRVTT", *PAPER, "-o", "OUT"), ("OUT",), ("--resume",), takes_long=True),
)
