"""The strongest baseline that needs no more bytes than a distilled set, and could therefore replace the set.

The bytes of a row of the score table are the size of the files that are needed to use its result. They include the
files of the initial heads, except if the scores record that the row does not need the initial heads.
"""

from __future__ import annotations

from omnidistill.evaluation.run_scores import RowScores, RunScores

_NO_RIVAL = "zero_shot"  # the initial heads, which are the origin of the scale of gains


def is_set(name: str) -> bool:
    """Return whether a row of the score table, given by its name, belongs to a distilled set."""
    return name.startswith("distilled")


def total_bytes(scores: RunScores, row: RowScores) -> int | None:
    """Return the bytes that a receiver needs for a row; None if they are not recorded."""
    if row.bytes is None:
        return None
    return row.bytes + (0 if row.needs_start is False else scores.bytes.initial_heads or 0)


def fits(scores: RunScores, row: RowScores) -> bool:
    """Return whether a row needs no more bytes than the largest distilled set of the table. False if unknown."""
    sets = [total for name, each in scores.rows.items() if is_set(name) if (total := total_bytes(scores, each))]
    total = total_bytes(scores, row)
    return total is not None and bool(sets) and total <= max(sets)


def strongest_rival(scores: RunScores, level: str) -> RowScores | None:
    """Return the baseline with the largest gain retained among those that need no more bytes than the set.

    Args:
        scores: the scores of an evaluated run.
        level: the recall level, such as "R@1".

    Returns:
        The row of the score table; None if there is no such baseline. Baselines with unknown bytes or unknown gain are
        ignored.
    """
    rivals = [
        (gain.mean, row)
        for name, row in scores.rows.items()
        if not is_set(name) and name != _NO_RIVAL and fits(scores, row) and (gain := row.gain(level)) is not None
    ]
    return max(rivals, key=lambda rival: rival[0])[1] if rivals else None
