"""The card of a shared distilled set: a README.md file with the front matter that the Hub reads.

It describes the set, how to train on it, its scores, its licence and the reason for that licence, and how the set was
created.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omnidistill.core.json_value import Json
from omnidistill.core.printable import printable
from omnidistill.distillation import DistilledSet
from omnidistill.evaluation.run_scores import MEAN, RunScores
from omnidistill.experiments.sharing.licences import Licence
from omnidistill.report.interval_notes import covered
from omnidistill.training.recipes import Recipe

_CITED = ("R@1", "R@5", "R@10")


def card(
    name: str,
    distilled: DistilledSet,
    licence: Licence,
    scores: RunScores | None = None,
    command: str = "",
    heads: bool = False,
) -> str:
    """Return the text of README.md.

    Args:
        name: name of the repository on the Hub, OWNER/NAME.
        distilled: the distilled set.
        licence: licence of the set.
        scores: scores of the set, if the run was evaluated.
        command: the command that created the set.
        heads: whether the initial heads of students are shared together with the set.
    """
    widths = {modality: rows.shape[1] for modality, rows in distilled.rows().items()}
    parts = [
        f"---\n{_front_matter(name, distilled, licence)}\n---",
        f"# {name.split('/')[-1]}",
        _what(distilled, widths),
        f"## Train on it\n\n{_training(name, distilled.recipe, widths, heads)}",
        _recipe(distilled),
    ]
    if scores is not None:
        parts.append(f"## Scores\n\n{_scores(scores)}")
    parts.append(f"## Licence\n\n{_licence(licence)}")
    parts.append(f"## Provenance\n\n{_made_by(distilled, command)}")
    return printable("\n\n".join(parts)) + "\n"


def _front_matter(name: str, distilled: DistilledSet, licence: Licence) -> str:
    """Return the front matter of README.md as YAML. Values are written as JSON, which is valid YAML."""
    fields: dict[str, Any] = {
        **licence.card,
        "pretty_name": name.split("/")[-1],
        "size_categories": [_size_category(len(distilled))],
        "tags": ["omnidistill", "dataset-distillation", "multimodal", "features", *distilled.modalities],
        "configs": [{"config_name": "default", "data_files": "rows.parquet"}],
    }
    return "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items())


def _size_category(rows: int) -> str:
    bounds = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K"}
    return next((name for bound, name in bounds.items() if rows < bound), "100K<n<1M")


def _what(distilled: DistilledSet, widths: Mapping[str, int]) -> str:
    source = _plain(str(distilled.provenance.name or "the user's own features"))
    listed = ", ".join(f"{name} (width {width})" for name, width in widths.items())
    views = f" ({len(distilled)} to train on, with their sign views)" if len(distilled) != distilled.size else ""
    return (
        f"{distilled.size} synthetic rows{views} for training projection heads, with features of {listed}. omnidistill "
        f"distilled them from *{source}* with the method `{distilled.provenance.method}`. Rows are features, not "
        "media; use them only with features from the same encoders."
    )


def _training(name: str, recipe: Recipe, widths: Mapping[str, int], heads: bool) -> str:
    pull = f"`omnidistill pull {name} -o SET` downloads and verifies the set. Then train on it:"
    if not recipe.uses_start or recipe.without_start() is not None:
        lines = [
            "```python",
            "from pathlib import Path",
            "from omnidistill import DistilledSet",
            'distilled = DistilledSet.load(Path("SET"))',
            f"trained = distilled.train(width={min(widths.values())})",
            "```",
        ]
        text = (
            "Training needs no initial heads, and any width can be chosen. `distilled.train(start)` adds the set to "
            "heads `start` that you have, and `distilled.train(modules)` trains torch modules."
        )
        return "\n".join([pull, "", *lines, "", text])
    start = 'Path("SET/heads")' if heads else 'Path("HEADS")'
    lines = [
        "```python",
        "from pathlib import Path",
        "from omnidistill import DistilledSet, load_heads",
        'distilled = DistilledSet.load(Path("SET"))',
        f"start, _ = load_heads({start}, {dict(widths)!r})",
        "trained = distilled.train(start)",
        "```",
    ]
    where = (
        "" if heads else " HEADS stands for the heads that the set was distilled for; others retain less of the gain."
    )
    return f"{pull}\n\n" + "\n".join(lines) + where


def _recipe(distilled: DistilledSet) -> str:
    return (
        f"Recipe: {distilled.recipe.title}. "
        f"`manifest.json` and the tensors ({distilled.bytes:,} bytes) make up the set; `rows.parquet` contains the "
        "rows and the recipe for other tools."
    )


def _scores(scores: RunScores) -> str:
    """Return a table of recall and retained gain. Recall is in percent, averaged over all directions and students."""
    levels = [level for level in _CITED if level in scores.levels] or scores.levels
    lines = [f"| row | {' | '.join(levels)} | gain retained, {levels[0]} |", f"|---|{'---:|' * (len(levels) + 1)}"]
    for row in scores.rows.values():
        recall = " | ".join(f"{100 * row.recall[MEAN][level].mean:.1f}" for level in levels)
        gain = row.gain(levels[0])
        retained = f"{100 * gain.mean:.0f} % [{100 * gain.low:.0f}, {100 * gain.high:.0f}]" if gain else ""
        lines.append(f"| {_plain(row.label)} | {recall} | {retained} |")
    return "\n".join(lines) + (
        f"\n\nTest split, {scores.num_seeds} students per row, all directions between modalities, in percent; "
        f"gain retained with its 95 % interval{f', which covers {covers}' if (covers := covered(scores)) else ''}."
    )


def _licence(licence: Licence) -> str:
    lines = [f"{licence.name}, the licence of the strictest source." if licence.sources else f"{licence.name}."]
    if licence.non_commercial:
        lines.append("**Non-commercial use only**: a source forbids commercial use.")
    table = [f"| {_plain(part)} | {_plain(text or 'not stated')} |" for part, text in licence.sources.items()]
    return "\n\n".join([*lines, "\n".join(["| source | licence |", "|---|---|", *table])])


def _made_by(distilled: DistilledSet, command: str) -> str:
    encoders = distilled.provenance.encoders
    words = [Path(word).name if Path(word).is_absolute() else word for word in command.split()]  # omits private paths
    lines = [f"    {' '.join(words)}\n"] if words else []
    if isinstance(encoders, Mapping):
        lines += [f"* {_plain(name)}: {_plain(_title(encoder))}" for name, encoder in encoders.items()]
    lines.append(f"* data: sha256 {distilled.provenance.data or 'not recorded'}")
    lines += [f"* note: {_plain(str(note))}" for note in distilled.provenance.notes]
    return "\n".join(lines)


def _title(encoder: Json) -> str:
    return str(encoder.get("name", encoder)) if isinstance(encoder, Mapping) else str(encoder)


def _plain(text: str) -> str:
    """Return the text on one line, escaped for a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")
