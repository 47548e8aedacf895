"""Small contents of tables and runs that figures are drawn from, written by hand; shared by the tests of figures."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from omnidistill.evaluation.intervals import Coverage, Interval
from omnidistill.evaluation.run_scores import Recall
from omnidistill.experiments.plot import read_source
from omnidistill.io.tracking import MetricsRecord
from omnidistill.plotting import PlottedRun
from omnidistill.report.comparison_content import Comparison, ComparisonData, ComparisonRow
from omnidistill.report.crossed_content import CrossedCell, CrossedContent
from omnidistill.report.migration_content import MigrationContent, MigrationRow
from omnidistill.report.paper_content import PaperContent, PaperNumbers, PaperRow, PaperSection
from omnidistill.report.transfer_content import TransferContent, TransferRow, TransferTarget

GOLDEN = Path(__file__).parent / "golden" / "v0_1"
DIRECTIONS = {"mean": 0.0, "image->text": 0.05, "text->image": -0.05}
LONG = "heads of equal bytes (rank 256, 4 bits), stacked on the initial heads"


def interval(mean: float, half: float = 0.1) -> Interval:
    return Interval(mean, mean - half, mean + half)


def row(method: str, label: str, size: int | None, recall: float, gain: float | None, **more: object) -> ComparisonRow:
    levels = {"R@1": recall, "R@5": recall + 0.1}
    table = {way: {k: Recall(mean=mean + shift) for k, mean in levels.items()} for way, shift in DIRECTIONS.items()}
    gains = None if gain is None else {"R@1": interval(gain / 2), "R@5": interval(gain)}
    fields = {"kind": "method", "bytes": None if size is None else 1000 * size, **more}
    return ComparisonRow(
        name=f"{method}@{size}", method=method, label=label, size=size, recall=table, gain_retained=gains, **fields
    )


def comparison(sizes: tuple[int, ...] = (10, 100, 400)) -> Comparison:
    """Two methods, and a baseline with a long label, at every size; initial heads and all rows without a size."""
    rows = [
        row("zero-shot", "zero-shot heads", None, 0.1, 0.0, kind="reference"),
        row("full", "all rows, InfoNCE", None, 0.4, 1.0, kind="reference"),
    ]
    for number, size in enumerate(sizes, start=1):
        rows.append(row("equal-bytes-4-bit", LONG, size, 0.2, 0.25 * number, kind="reference"))
        rows.append(row("anchor", "anchor", size, 0.3, 0.3 * number))
        rows.append(row("hopa", "HoPA $x_1$", size, 0.25, None if number == 1 else 0.2 * number))
    data = ComparisonData(name="emoji", widths={"image": 3, "text": 4}, bytes=1_000_000)
    return Comparison(
        name="table", layout="curve", data=data, protocol=("One seed.",), seeds=(0,), num_students=2, rows=rows
    )


def crossed() -> CrossedContent:
    """Two sets with two recipes and three models; one cell failed, and one is missing."""
    values = {("one", "own", "own"): 1.05, ("one", "own", "mlp-2"): 0.5, ("one", "sgd", "own"): -0.25}
    values |= {("two, coded", "own", "own"): 0.75, ("two, coded", "sgd", "width-4"): 0.0}
    cells = [
        CrossedCell(
            part="table",
            set=name,
            recipe=recipe,
            column=column,
            model=column,
            recall={"R@1": abs(value) / 3, "R@5": abs(value) / 2},
            gain_retained={"R@1": value, "R@5": value / 2},
        )
        for (name, recipe, column), value in values.items()
    ]
    failed = CrossedCell(part="table", set="one", recipe="sgd", column="mlp-2", model="mlp-2", error="no heads")
    return CrossedContent(
        name="crossed",
        heads="0",
        data=ComparisonData(name="emoji", widths={"image": 3, "text": 4}),
        seed=0,
        levels=("R@1", "R@5"),
        sets=(),
        references=(),
        cells=(*cells, failed),
        protocol=(),
    )


def transfer() -> TransferContent:
    """Two new encoders."""

    def table_row(name: str, share: float | None) -> TransferRow:
        values = None if share is None else {"R@1": interval(share), "R@5": None}
        return TransferRow(
            name=name,
            recall={"R@1": interval(0.2), "R@5": interval(0.3)},
            directions={},
            improvement=values,
            share=values,
            coverage=Coverage.of_runs(1),
            bytes=1234,
            needs="9 items",
            seconds=1.0,
            settings=[],
        )

    rows = [table_row("random rows", None), table_row("mixture, learned", 0.6), table_row("all rows, CCA", 0.9)]
    targets = [
        TransferTarget(name=name, widths={"a": 3}, split_rows={}, levels=("R@1", "R@5"), facts=(), rows=rows)
        for name in ("e5-base", "minilm-l6")
    ]
    return TransferContent(data="old", method="anchor", size=6, seeds=(0,), recipe="anchor", targets=targets)


def migration() -> MigrationContent:
    """A kit, and a map that has no reverse direction."""
    tasks = {"queries": {"R@1": 0.9}, "gallery": {"R@1": 0.8}, "mixed": {"R@1": 0.7}}
    rows = [
        MigrationRow(name=name, bytes=9, size=4, seconds=1.0, recall=dict.fromkeys(ways, tasks), validation=0.5)
        for name, ways in {"kit": ("forward", "reverse"), "low rank, one way": ("forward",)}.items()
    ]
    return MigrationContent(
        old="a",
        new="b",
        widths={"old": 3, "new": 4},
        pairs={"train": 9},
        split_by="row",
        storage="float32",
        ridges={},
        training_bytes=100,
        seed=0,
        levels=("R@1",),
        rows=rows,
    )


def paper_tables() -> PaperContent:
    """Table 5 on two datasets, and figure 2 on one; a method failed, and a row is not printed."""

    def numbers(first: float | None) -> PaperNumbers:
        return PaperNumbers(recall={} if first is None else {"R@1": first, "R@5": first + 0.2})

    def table_row(label: str, ours: float | None, printed: float | None, size: int | None = 100) -> PaperRow:
        error = "seed 0: no luck" if ours is None else None
        fields = {"label": label, "size": size, "is_method": size is not None, "error": error}
        return PaperRow(**fields, ours=numbers(ours), printed=numbers(printed))

    rows = [
        table_row("all rows, InfoNCE", 0.25, 0.226, None),
        table_row("HoPA", 0.1875, 0.216),
        table_row("MTT (pairs)", None, 0.2),
        table_row("anchor $x_1$", 0.21, None),
    ]
    sections = [
        PaperSection(
            number=number,
            benchmark=benchmark,
            title=f"{number} on {benchmark}: pairs, anchors and the proxy",
            comparison=f"{benchmark}/paper-{number}",
            data=ComparisonData(name=benchmark, widths={"video": 3, "text": 4}),
            levels=("R@1", "R@5"),
            directions=("video->text", "text->video"),
            rows=rows,
        )
        for number, benchmark in (("5", "msrvtt"), ("5", "didemo"), ("figure-2", "msrvtt"))
    ]
    return PaperContent(sections=sections)


@cache
def golden_run() -> PlottedRun:
    """An evaluated run with the modalities image, text and audio and a learned similarity, which version 0.1 wrote."""
    with TemporaryDirectory() as folder:  # reading locks the run
        source = read_source(Path(shutil.copytree(GOLDEN / "RUN-float", Path(folder, "RUN-float"))))
    assert isinstance(source, PlottedRun)
    return source


def learned_run(label: str = "hopa", iteration: int = 6, steps: int = 12) -> PlottedRun:
    """A run whose log has a loss per modality, validation scores and step sizes."""
    part = golden_run().parts[0]
    names = part.distilled.modalities
    records = [
        MetricsRecord(
            step,
            {
                "loss": 3.0 / step,
                **{f"loss/{name}": 1.0 / step for name in names},
                **{f"step_size/{name}": 10.0**number / step for number, name in enumerate(names)},
                **({"validation": 0.2 + 0.01 * step} if step % 3 == 0 else {}),
            },
        )
        for step in range(1, steps + 1)
    ]
    distilled = replace(part.distilled, provenance=replace(part.distilled.provenance, iteration=iteration))
    return PlottedRun(label, (replace(part, distilled=distilled, records=tuple(records)),))
