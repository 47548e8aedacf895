"""The options of `torture/run.py`, which every module with trials receives."""

from __future__ import annotations

import argparse
from pathlib import Path


class Options(argparse.Namespace):
    """The options of the program, which every module receives."""

    seed: int
    share: float
    only: list[str]
    commands: list[str]
    markdown: Path | None
    processes: int

    def number(self, full: int) -> int:
        """Return the number of attempts to make instead of `full`: at least one."""
        return max(1, round(self.share * full))

    def includes(self, command: str) -> bool:
        """Return whether to try a command."""
        return not self.commands or command in self.commands
