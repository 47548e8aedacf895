"""The figures of the documentation, drawn by code; the same input gives the same bytes.

    python docs/figures.py                draws figures/pipeline.svg, packages.svg, gains.svg and rank-floor.svg
    python docs/figures.py --measure      measures figures/rank-floor.json first (about a minute of one core)

`figures/gain-against-bytes.svg` is drawn by benchmarks/compare.py. `--plots` draws the figures of guides/figures.md
and the crossed table (plot-*.svg) from stored benchmark results; their bytes depend on the version of matplotlib.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path

from omnidistill.report.curves import line_chart
from omnidistill.report.svg_elements import standalone

FIGURES = Path(__file__).parent / "figures"
MEASURED = FIGURES / "rank-floor.json"

_STAGES = (  # (command that creates the output, output, content)
    ("", "features", "{modality: N x p}"),
    ("experts", "trajectories", "heads, epoch by epoch"),
    ("distill", "distilled set", "rows, S, recipe"),
    ("train", "heads", "{modality: d x p}"),
    ("evaluate", "scores, page", "the test split, once"),
)
_BOX, _GAP, _HEIGHT, _TOP = 136, 74, 56, 22


def pipeline() -> str:
    """Return the figure of the pipeline, from left to right."""
    drawn, width = [], len(_STAGES) * (_BOX + _GAP) - _GAP
    for number, (command, name, content) in enumerate(_STAGES):
        left = number * (_BOX + _GAP)
        if command:
            start, end, middle = left - _GAP + 4, left - 4, _TOP + _HEIGHT / 2
            drawn.append(f'<path d="M{start} {middle:g}H{end}m-7 -4l7 4l-7 4" fill="none" stroke="currentColor"/>')
            drawn.append(_text(left - _GAP / 2, middle - 8, command, 'font-style="italic"'))
        drawn.append(
            f'<rect x="{left + 1}" y="{_TOP}" width="{_BOX - 2}" height="{_HEIGHT}" rx="6" fill="var(--series-1, '
            '#1f5f99)" fill-opacity="0.12" stroke="currentColor"/>'
        )
        drawn.append(_text(left + _BOX / 2, _TOP + 24, name, 'font-weight="600"'))
        drawn.append(_text(left + _BOX / 2, _TOP + 43, content, 'font-size="11"'))
    steps = (f"{command} creates {name}" if command else name for command, name, _ in _STAGES)
    title = f"Pipeline: {', '.join(steps)}"
    return standalone(
        f'<svg role="img" aria-labelledby="flow" viewBox="0 0 {width} {_TOP + _HEIGHT + 2}" '
        f'font-family="system-ui, sans-serif" font-size="13" fill="currentColor"><title id="flow">{title}</title>'
        f"{''.join(drawn)}</svg>"
    )


_CONTENTS = {  # what each package contains; the layers are those of the import contract
    "api": "public names",
    "__main__": "python -m omnidistill",
    "cli": "one module per command",
    "testing": "contract suites for other people's components",
    "experiments": "runs, comparisons, dry runs, sharing, inspection",
    "plotting": "figures for papers",
    "methods": "learn, select, closed forms",
    "report": "tables, page, figures",
    "evaluation": "retrieval, intervals, validation, baselines",
    "distillation": "outer loop, outer objectives, distilled set",
    "training": "experts, rollouts, recipes",
    "encoding": "media, manifests, encoders",
    "models": "heads, objectives, similarities, storages",
    "data": "feature sets, packing, the emoji dataset",
    "io": "artifacts on disk, logs, trackers",
    "core": "errors, registries, settings, streams, engines",
}
_WIDE, _ROW = 720, 44


def packages() -> str:
    """Return the figure of the packages; each layer imports only from those below it."""
    contract = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))
    layers = contract["tool"]["importlinter"]["contracts"][0]["layers"]
    drawn = []
    for number, layer in enumerate(layers):
        names, top = [name.strip() for name in layer.split("|")], number * _ROW + 2
        width = _WIDE / len(names)
        for column, name in enumerate(names):
            left = column * width
            drawn.append(
                f'<rect x="{left + 2:g}" y="{top}" width="{width - 4:g}" height="{_ROW - 6}" rx="5" '
                'fill="var(--series-1, #1f5f99)" fill-opacity="0.12" stroke="currentColor" stroke-opacity="0.5"/>'
            )
            drawn.append(_text(left + width / 2, top + 16, name, 'font-weight="600"'))
            drawn.append(_text(left + width / 2, top + 31, _CONTENTS[name], 'font-size="11"'))
    return standalone(
        f'<svg role="img" aria-labelledby="layers" viewBox="0 0 {_WIDE} {len(layers) * _ROW}" '
        'font-family="system-ui, sans-serif" font-size="13" fill="currentColor"><title id="layers">Packages of '
        f"omnidistill, top to bottom: {'; '.join(layers)}. Each imports only from those below it.</title>"
        f"{''.join(drawn)}</svg>"
    )


_NAMES, _PLOT, _STEP = 300, 360, 26
"""Widths of the column of names and of the axis from 0 to 140 %, and the height of a row."""


def gains() -> str:
    """Return the figure of gain retained at R@10 of every row of the table in the README, as dots with intervals."""
    readme = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    table = [
        (name.strip(), *(float(number) for number in re.findall(r"-?\d+", gain.split("/")[2])))
        for name, gain in re.findall(r"^\| ([^|]+)\|(?:[^|]+\|){3} ([^|]+\]) \|", readme, re.MULTILINE)
    ]
    drawn, height = [], len(table) * _STEP + 8
    for percent in (0, 50, 100):
        x = _across(percent)
        drawn.append(f'<path d="M{x:g} 4V{height}" stroke="currentColor" stroke-opacity="0.2"/>')
        drawn.append(_text(x, height + 16, f"{percent} %", 'font-size="12"'))
    for number, (name, gain, low, high) in enumerate(table):
        y, ours = number * _STEP + 18, name.startswith("**")
        colour = "var(--series-1, #1f5f99)" if ours else "currentColor"
        bold = ' font-weight="700"' if ours else ""
        drawn += [
            f'<text x="{_NAMES - 12}" y="{y + 4}" text-anchor="end"{bold}>{name.strip("*")}</text>',
            f'<path d="M{_across(low):g} {y}H{_across(high):g}" stroke="{colour}" stroke-width="2"/>',
            f'<circle cx="{_across(gain):g}" cy="{y}" r="4.5" fill="{colour}"/>',
            f'<text x="{_NAMES + _PLOT + 12}" y="{y + 4}"{bold}>{gain:.0f}</text>',
        ]
    label = "gain retained at R@10, % of training the initial heads on all rows by InfoNCE, with 95 % intervals"
    values = "; ".join(f"{name.strip('*')}: {gain:.0f} [{low:.0f}, {high:.0f}]" for name, gain, low, high in table)
    drawn.append(_text((_NAMES + _PLOT + 50) / 2, height + 38, label, 'font-size="12"'))
    return standalone(
        f'<svg role="img" aria-labelledby="gains" viewBox="0 0 {_NAMES + _PLOT + 50} {height + 46}" '
        f'font-family="system-ui, sans-serif" font-size="13" fill="currentColor"><title id="gains">Emoji, {label}. '
        f"{values}</title>{''.join(drawn)}</svg>"
    )


def _across(percent: float) -> float:
    return _NAMES + 8 + (_PLOT - 16) * percent / 140


def rank_floor() -> str:
    """Return the figure of rank floor and achieved matching loss against N, from the measured numbers."""
    measured = json.loads(MEASURED.read_text("utf-8"))
    sizes = [float(size) for size in measured["size"]]
    return standalone(
        line_chart(
            {name: list(zip(sizes, measured[name], strict=True)) for name in ("reached", "floor")},
            title=f"Matching loss and rank floor: {measured['data']}",
            x_label="synthetic rows N (log scale)",
            y_label="matching loss, mean over the modalities",
            log_x=True,
        )
    )


def measure() -> None:
    """Distil planted data at several sizes and store floor and matching loss."""
    import torch

    import omnidistill as od
    from omnidistill.experiments.run import matching_loss

    torch.set_num_threads(1)  # another order of summation would change the last bits

    widths = {"image": 96, "text": 64, "audio": 80}
    rows = {"heads": 60, "train": 600, "validation": 120}
    quick = ["heads.width=32", "distill.iterations=60", "distill.num_student_steps=32", "distill.validate_every=60"]
    sizes, floors, losses = [2, 4, 8, 16, 32, 64], [], []
    planted = od.prepare(od.planted(widths, rows, latent=24, noise=1.5))
    for size in sizes:
        fixed = [f"distill.similarity.rank={min(size, 10)}", "experts.num_experts=1"]
        result = od.distill(planted, size=size, preset="whole-run", settings=[*quick, *fixed], device="cpu")
        (part,) = result.parts
        floor, loss = part.floor, matching_loss(part)
        assert floor is not None
        assert loss is not None
        floors.append(round(sum(floor.values()) / len(floor), 4))
        losses.append(round(loss / len(floor), 4))
    data = "planted, three modalities, 600 rows, embeddings 32 wide"
    MEASURED.write_text(json.dumps({"data": data, "size": sizes, "floor": floors, "reached": losses}) + "\n", "utf-8")


def plots() -> None:
    """Draw the examples of guides/figures.md with `omnidistill.plot`."""
    import omnidistill as od
    from omnidistill.experiments.crossed import CrossedTable
    from omnidistill.report.comparison_content import Comparison
    from omnidistill.report.crossed_content import CrossedContent

    results = Path(__file__).parents[1] / "benchmarks" / "results" / "compare"
    for kind, source in {"gain": "default-bytes", "intervals": "default-rows", "heat-map": "default-rows"}.items():
        stored = json.loads((results / f"{source}.json").read_text("utf-8"))["comparison"]
        compared = od.Compared(Comparison.from_json(stored, source), {})
        od.plot(compared, FIGURES / f"plot-{kind}.svg", kind=kind, force=True)
    table = CrossedContent.from_json(json.loads((results.parent / "crossed.json").read_text("utf-8")), "crossed.json")
    od.plot(CrossedTable(table, {}), FIGURES / "plot-crossed.svg", width=6.9, force=True)


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="middle" {style}>{text}</text>'


DRAWN = {"pipeline.svg": pipeline, "packages.svg": packages, "gains.svg": gains, "rank-floor.svg": rank_floor}

if __name__ == "__main__":
    if "--measure" in sys.argv[1:]:
        measure()
    if "--plots" in sys.argv[1:]:
        plots()
    for name, draw in DRAWN.items():
        (FIGURES / name).write_text(draw(), "utf-8")
