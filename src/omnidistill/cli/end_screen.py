"""The summary that long-running commands print at the end. It fits on one screen, in one layout for all commands.

For example:

    set      RUN/distilled (30 rows of 2-bit integers, 4,812 bytes)
    chosen   step size = 0.5 (best of 4 on validation)
    skipped  cca-bytes: does not apply to sets of this size
    note     with fewer than 51 groups, choices on validation are noisy
    files    RUN/scores.json, RUN/report.html
    next     omnidistill evaluate RUN

The first word of a line says what the line contains:

    set      the result of the command
    chosen   a setting that data or validation determined, and why
    skipped  what was left out, and why
    note     what the user should know
    files    where the results are
    next     the next command, ready to be pasted
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence

MOST_LINES = 24
_COLUMN = 9
_LISTED = ("note", "chosen", "skipped", "bad", "cut")
"""Labels of which a screen may show only the first lines."""


def end_screen(lines: Sequence[str], width: int | None = None) -> list[str]:
    """Return lines with aligned labels and wrapped texts.

    If there are more than `MOST_LINES` lines, some notes and other details are left out.

    Args:
        lines: lines such as "set  RUN/distilled": a one-word label, spaces, and a text. A line that starts with a
            space has no label; it continues the text of the line before.
        width: number of characters per line. Longer lines are wrapped, except commands ("next"), which must stay ready
            to be pasted. None for no wrapping.
    """
    entries: list[tuple[str, list[str]]] = []
    for line in lines:
        label, _, text = line.partition(" ")
        entries.append((label, _wrapped(label, text.strip(), width)))
    left_out = 0
    while sum(len(shown) for _, shown in entries) + bool(left_out) > MOST_LINES:
        counts = Counter(label for label, _ in entries if label in _LISTED)
        if not counts or max(counts.values()) == 1:
            break
        most = max(counts, key=lambda label: counts[label])
        del entries[max(number for number, (label, _) in enumerate(entries) if label == most)]
        left_out += 1
    shown = [line for _, wrapped in entries for line in wrapped]
    if left_out:
        before = next((number for number, line in enumerate(shown) if line.startswith(("files", "next"))), len(shown))
        shown[before:before] = _wrapped("note", f"{left_out} more lines are left out; --json prints all", width)
    return shown


def screen_width() -> int | None:
    """Return the width of the terminal; None if the output goes to a file or another program."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _wrapped(label: str, text: str, width: int | None) -> list[str]:
    first = f"{label:<{_COLUMN - 1}} "
    if width is None or label == "next" or len(first) + len(text) <= width:
        return [f"{first}{text}".rstrip()]
    return textwrap.wrap(
        text,
        max(width, 2 * _COLUMN),
        initial_indent=first,
        subsequent_indent=" " * _COLUMN,
        break_long_words=False,
        break_on_hyphens=False,
    )
