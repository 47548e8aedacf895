"""What a run's scores say, in sentences: what the set keeps, what it weighs, how far its loss is from what can be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from omnidistill.core.errors import InputError
from omnidistill.report.charts import total_floor
from omnidistill.report.run_table import (
    Scores,
    gain_retained,
    human_bytes,
    interval,
    percent,
    recall_levels,
    score_lines,
)


def distilled_line(scores: Scores) -> Mapping[str, Any]:
    """The line of the set. Raises InputError where scores have none."""
    lines = score_lines(scores)
    if "distilled" not in lines:
        raise InputError("page: scores have no line 'distilled'; evaluate the run again")
    return lines["distilled"]


def claim(scores: Scores) -> str:
    """What the set keeps at the first recall level at which there is something to keep, in one sentence."""
    gains = _gains(scores)
    if not gains:
        return f"On this data {_everything(scores)} add nothing beyond noise, so there is no gain to keep."
    k, gain = next(iter(gains.items()))
    return f"{_rows(scores)} keep {share(gain)} of what {_everything(scores)} gain at {k}."


def further(scores: Scores) -> str:
    """What holds at the other levels; empty where there is no other."""
    line, ks, gains = distilled_line(scores), recall_levels(scores), _gains(scores)
    if not gains:
        recalls = enumerated(f"{percent(line['recall']['mean'][k]['mean'])} % at {k}" for k in ks)
        return f"Heads trained on {_rows(scores).lower()} recall {recalls}."
    parts = []
    if others := [f"{share(gain)} at {k}" for k, gain in gains.items()][1:]:
        parts.append(f"They keep {enumerated(others)}.")
    if unknown := [k for k in ks if k not in gains]:
        parts.append(f"At {enumerated(unknown)} all rows add nothing beyond noise.")
    return " ".join(parts)


def made_of(scores: Scores) -> str:
    """What was done with which data."""
    data = scores.get("data", {})
    rows, widths = data.get("rows") or {}, data.get("widths") or {}
    if not (widths and {"train", "test"} <= set(rows)):
        return ""
    modalities = enumerated(f"{name} ({width:,} wide)" for name, width in widths.items())
    made = f"{rows['train']:,} training rows of {modalities} became {scores.get('size', 'some')} synthetic rows"
    weight = scores.get("bytes") or {}
    if weight.get("distilled") and weight.get("features"):
        made += f" of {human_bytes(weight['distilled'])} in all, {100 * weight['distilled'] / weight['features']:.3g} %"
        made += " of what the training rows weigh"
    if "lines" not in scores:
        return f"{made}."
    times = f" {scores['num_seeds']} times" if scores.get("num_seeds") else ""
    return f"{made}. Heads trained on them{times}, and on every reference, were scored on {rows['test']:,} test rows."


def differences(scores: Scores) -> list[str]:
    """Paired differences of recall to other lines, in points."""
    sentences = []
    lines = score_lines(scores)
    for key, levels in distilled_line(scores).items():
        other = key.removeprefix("difference_to_")
        if other == key or not isinstance(levels, Mapping):
            continue
        known = {k: levels[k] for k in recall_levels(scores) if levels.get(k)}
        if known:
            label = lines.get(other, {}).get("label") or other.replace("_", " ")
            points = enumerated(f"{_unbroken(interval(value, 1, sign=True))} at {k}" for k, value in known.items())
            sentences.append(f"Difference to “{label}”, in points of recall: {points}.")
    return sentences


def matching(scores: Scores) -> str:
    """The matching loss beside its floor; empty where nothing was matched."""
    loss, floor = scores.get("matching_loss"), total_floor(scores)
    if loss is None:
        return ""
    text = f"Matching loss, summed over modalities: {loss:.3g}"
    return text + ("." if floor is None else f"; no set of this size can go below {floor:.3g} (rank floor).")


def share(gain: Mapping[str, float]) -> str:
    """`88 % [82, 94]`, not to be broken."""
    mean, low, high = (percent(gain[part], 0) for part in ("mean", "low", "high"))
    return _unbroken(f"{mean} % [{low}, {high}]")


def enumerated(parts: Iterable[str]) -> str:
    """`a, b and c`."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def _gains(scores: Scores) -> dict[str, dict[str, float]]:
    line = distilled_line(scores)
    return {k: gain for k in recall_levels(scores) if (gain := gain_retained(line, k)) is not None}


def _rows(scores: Scores) -> str:
    return f"{scores['size']:,} synthetic rows" if "size" in scores else "The synthetic rows"


def _everything(scores: Scores) -> str:
    number = scores.get("data", {}).get("rows", {}).get("train")
    return f"all {number:,} training rows" if isinstance(number, int) else "all training rows"


def _unbroken(text: str) -> str:
    return text.replace(" ", "\u00a0")
