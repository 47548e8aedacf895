"""Sentences about the results of a run: gain retained, size of the set, and matching loss with its lower bound."""

from __future__ import annotations

from collections.abc import Iterable

from omnidistill.evaluation.intervals import Interval
from omnidistill.evaluation.run_scores import MEAN, RunScores
from omnidistill.report.charts import total_floor
from omnidistill.report.rivals import strongest_rival
from omnidistill.report.run_table import human_bytes, interval, percent


def claim(scores: RunScores) -> str:
    """Return a sentence about gain retained at one recall level, the first for which it is defined."""
    gains = _gains(scores)
    if not gains:
        return (
            f"On this data, training on {_all_rows(scores)} does not improve recall beyond noise, so gain retained is "
            "undefined."
        )
    k, gain = next(iter(gains.items()))
    return f"{scores.size:,} synthetic rows retain {share(gain)} of the gain from {_all_rows(scores)} at {k}."


def rivalry(scores: RunScores) -> str:
    """Return a sentence that names the strongest baseline with no more bytes than the set, or says that there is none.

    Baselines are compared by gain retained, at the first recall level at which the gain retained of the set is defined.
    Return an empty string if it is not defined at any level, or if the bytes of the set are not recorded.
    """
    gains = _gains(scores)
    if not gains or scores.distilled.bytes is None:
        return ""
    k = next(iter(gains))
    rival = strongest_rival(scores, k)
    if rival is None or (gain := rival.gain(k)) is None:
        return "No baseline in the table needs as few bytes."
    return f"The strongest baseline that needs no more bytes, “{rival.label}”, retains {share(gain)}."


def further(scores: RunScores) -> str:
    """Return sentences about the recall levels that the sentence of `claim` does not mention, or an empty string."""
    gains = _gains(scores)
    if not gains:
        mean = scores.distilled.recall[MEAN]
        recalls = enumerated(f"{percent(mean[k].mean)} % at {k}" for k in scores.levels)
        return f"Heads trained on {scores.size:,} synthetic rows have a recall of {recalls}."
    parts = []
    if others := [f"{share(gain)} at {k}" for k, gain in gains.items()][1:]:
        parts.append(f"They retain {enumerated(others)}.")
    if undefined := [k for k in scores.levels if k not in gains]:
        parts.append(f"At {enumerated(undefined)}, training on all rows does not improve recall beyond noise.")
    of_best = {k: gain for k in scores.levels if (gain := scores.distilled.gain_of_best(k)) is not None}
    if of_best and "best" in scores.rows:
        shares = enumerated(f"{share(gain)} at {k}" for k, gain in of_best.items())
        parts.append(f"Compared with “{scores.rows['best'].label}”, they retain {shares}.")
    return " ".join(parts)


def origin(scores: RunScores) -> str:
    """Return sentences about the data and the size of the set, or an empty string if the sizes are unknown."""
    rows, widths = scores.data.rows, scores.data.widths
    if not (widths and {"train", "test"} <= set(rows)):
        return ""
    modalities = enumerated(f"{name} ({width:,} wide)" for name, width in widths.items())
    text = f"{rows['train']:,} training rows of {modalities} were distilled into {scores.size} synthetic rows"
    if scores.bytes.distilled and scores.bytes.features:
        text += f" with a total size of {human_bytes(scores.bytes.distilled)}, "
        text += f"{100 * scores.bytes.distilled / scores.bytes.features:.3g} % of the size of the training rows"
    if not scores.scored:
        return f"{text}."
    students = f", with {scores.num_seeds} students each" if scores.num_seeds else ""
    return f"{text}. The set and all baselines were evaluated on {rows['test']:,} test rows{students}."


def differences(scores: RunScores) -> list[str]:
    """Return one sentence per baseline that states by how much the set's recall differs from the baseline's."""
    sentences = []
    for other, levels in scores.distilled.differences.items():
        defined = {k: value for k in scores.levels if (value := levels.get(k)) is not None}
        if defined:
            label = scores.rows[other].label if other in scores.rows else other.replace("_", " ")
            points = enumerated(f"{_unbroken(interval(value, 1, sign=True))} at {k}" for k, value in defined.items())
            sentences.append(f"Difference in recall to “{label}”, in percentage points: {points}.")
    return sentences


def matching(scores: RunScores) -> str:
    """Return a sentence about the matching loss and its rank floor (a lower bound); "" if there is no such loss."""
    loss, floor = scores.matching_loss, total_floor(scores)
    if loss is None:
        return ""
    text = f"Matching loss, summed over modalities: {loss:.3g}"
    return text + ("." if floor is None else f"; no set of this size can reach less than {floor:.3g} (rank floor).")


def share(gain: Interval) -> str:
    """Format a gain with its confidence interval as text without line breaks, such as `88 % [82, 94]`."""
    mean, low, high = (percent(part, 0) for part in (gain.mean, gain.low, gain.high))
    return _unbroken(f"{mean} % [{low}, {high}]")


def enumerated(parts: Iterable[str]) -> str:
    """Join the parts to a text such as `a, b and c`."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def _gains(scores: RunScores) -> dict[str, Interval]:
    return {k: gain for k in scores.levels if (gain := scores.distilled.gain(k)) is not None}


def _all_rows(scores: RunScores) -> str:
    number = scores.data.rows.get("train")
    return "all training rows" if number is None else f"all {number:,} training rows"


def _unbroken(text: str) -> str:
    return text.replace(" ", "\u00a0")
