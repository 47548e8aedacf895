"""The result of `evaluate`: scores of a set and of the baselines, with the table, files and report page about them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omnidistill.core.html_table import html_table
from omnidistill.data.featureset import FeatureSet
from omnidistill.evaluation.run_scores import MEAN, RunScores
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.experiments.run import DistillResult
from omnidistill.experiments.run_page import CASES, PAGE, SCORES, run_view
from omnidistill.io.artifacts import write_atomic
from omnidistill.plotting import Plottable, PlottedRun
from omnidistill.report.cases import Cases, save_cases
from omnidistill.report.page import RunView, render_page
from omnidistill.report.run_facts import flat
from omnidistill.report.run_table import score_rows, scoring_facts, to_csv, to_markdown


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation(Plottable):
    """The scores of a set and of the baselines.

    Attributes:
        scores: all measurements; the content of scores.json.
        rows: {row of the score table: trained heads}. The table has one row per baseline and one for the set. If the
            set can also be trained without initial heads, this is another row. The evaluation of another run on the
            same data and initial heads can reuse the heads of the baselines.
        cases: retrieval examples.
        result: the result of the run.
        data: the data of the run.
        folder: output folder; None if nothing was stored.
        skipped: names of the requested baselines that do not apply to the set.
    """

    scores: RunScores
    rows: Mapping[str, TrainedHeads]
    cases: Cases | None
    result: DistillResult
    data: FeatureSet
    folder: Path | None = None
    skipped: tuple[str, ...] = ()

    @property
    def choices(self) -> dict[str, str]:
        """Settings that validation chose for the baselines `full` and `best`, {label of the table row: text}.

        A text states the settings and the number of candidates, such as "learning_rate 0.1, num_epochs 20 (best of 60
        on validation)".
        """
        chosen = [self.rows[name] for name in ("full", "best") if name in self.rows]
        return {row.label: _choice(row) for row in chosen if row.num_evaluated}

    def table(self) -> str:
        """Return the table as Markdown, with recall, gain retained, seconds and bytes of every row."""
        return to_markdown(self.scores).rstrip("\n")

    def to_json(self) -> dict[str, Any]:
        """Return the content of scores.json."""
        return self.scores.to_json()

    @property
    def plot_source(self) -> PlottedRun:
        """The scores. `plot` draws them as intervals or a heat map. For training curves, use `result.plot`."""
        return PlottedRun(self.result.plot_source.label, (), self.scores)

    def view(self) -> RunView:
        """Return what the report page shows about the run."""
        return run_view(self.result, self.scores, self.data, self.cases)

    def save(self, folder: str | Path) -> Evaluation:
        """Write scores.json, scores.csv, cases.json and report.html, and return the evaluation with its folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / SCORES, json.dumps(self.to_json(), indent=1, allow_nan=False).encode())
        write_atomic(folder / "scores.csv", to_csv(self.scores).encode())
        if self.cases is not None:
            save_cases(self.cases, folder / CASES)
        write_atomic(folder / PAGE, render_page([self.view()]).encode())
        return replace(self, folder=folder)

    def _repr_html_(self) -> str:
        table = score_rows(self.scores)
        title = f"{self.scores.data.name}: mean recall over directions, test split"
        return html_table(title, table.rows, table.header, scoring_facts(self.scores))

    def __repr__(self) -> str:
        distilled = self.scores.distilled
        recalls = ", ".join(f"{level} {100 * distilled.recall[MEAN][level].mean:.1f} %" for level in self.scores.levels)
        gains = [distilled.gain(level) for level in self.scores.levels]
        kept = " / ".join("n/a" if gain is None else f"{100 * gain.mean:.0f}" for gain in gains)
        return f"Evaluation({distilled.label}: {recalls}; gain retained {kept} %; {len(self.scores.rows)} rows)"


def _choice(row: TrainedHeads) -> str:
    named = flat(row.settings, _shown)  # the label of the row says which baseline is best
    chosen = ((name, value) for name, value in named if name != "baseline" and not name.startswith("validation."))
    values = ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in chosen)
    return f"{values} (best of {row.num_evaluated} on validation)"


def _shown(value: int | float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
