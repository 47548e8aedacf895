"""Figures show the numbers of their sources, nothing is cut or covered, and files are the same on every call."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import matplotlib
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from omnidistill.core.errors import InputError
from omnidistill.plotting import PlottedRun, Source, draw
from omnidistill.plotting.kinds import KINDS
from omnidistill.plotting.paper_figure import PaperFigure, SeriesStyle, paper_style
from plot_sources import LONG, comparison, crossed, golden_run, learned_run, migration, paper_tables, transfer

WIDE = "a very long name of a method or a folder, as people give them in large studies, with \x1b[2J and <tags>"


def with_long_names() -> dict[str, tuple[list[Source], str]]:
    """Sources with names and titles that do not fit on one line."""
    table, run, cells, shared = comparison(), learned_run(), crossed(), transfer()
    printed = paper_tables()
    rows = [each.evolve(label=f"{WIDE} {each.label}") for each in table.rows]
    task = [
        replace(each, values={**each.values, "loss/task/infonce": 1.0 / each.iteration})
        for each in run.parts[0].records
    ]
    changed = [
        each.evolve(part="robustness", column=f"{each.column} with many more steps than usual") for each in cells.cells
    ]
    return {
        "long methods": ([table.evolve(rows=rows)], "gain"),
        "long rows": ([table.evolve(rows=rows)], "intervals"),
        "long runs": ([replace(run, label=WIDE), replace(run, label=f"{WIDE} 2")], "curves"),
        "task": ([replace(run, parts=(replace(run.parts[0], records=tuple(task)),))], "curves"),
        "long cells": ([cells.evolve(cells=changed)], "heat-map"),
        "long titles": (
            [printed.evolve(sections=[each.evolve(title=f"{WIDE} {each.title}") for each in printed.sections])],
            "reproduction",
        ),
        "long encoders": (
            [shared.evolve(targets=[each.evolve(name=f"{WIDE} {each.name}") for each in shared.targets])],
            "intervals",
        ),
    }


FIGURES: dict[str, tuple[list[Source], str]] = {
    "comparison": ([comparison()], "gain"),
    "run": ([learned_run()], "curves"),
    "long run": ([learned_run(steps=700)], "curves"),
    "runs": ([learned_run("a run with a long name in its folder"), learned_run("b", 9)], "curves"),
    "one size": ([comparison((100,))], "intervals"),
    "sizes": ([comparison()], "intervals"),
    "encoders": ([transfer()], "intervals"),
    "scores": ([golden_run()], "intervals"),
    "crossed": ([crossed()], "heat-map"),
    "directions": ([comparison()], "heat-map"),
    "directions of a run": ([golden_run()], "heat-map"),
    "maps": ([migration()], "heat-map"),
    "paper": ([paper_tables()], "reproduction"),
    "rows of the set": ([golden_run()], "similarity"),
} | with_long_names()


def enormous() -> Source:
    """Tables with so many rows that no figure can show them."""
    printed = paper_tables()
    return printed.evolve(sections=[each.evolve(rows=each.rows[:1] * 1000) for each in printed.sections])


def texts(figure: PaperFigure, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Text, Bbox]]:
    """Draw the figure, and return the texts that were drawn with their boxes in pixels."""
    drawn: list[tuple[Text, Bbox]] = []
    draw_text = Text.draw

    def record(text: Text, renderer: Any) -> None:
        if text.get_visible() and text.get_text().strip():
            drawn.append((text, text.get_window_extent(renderer)))
        draw_text(text, renderer)

    with monkeypatch.context() as patch, paper_style():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()  # arranges the parts
        patch.setattr(Text, "draw", record)
        canvas.draw()
    return drawn


@pytest.mark.parametrize("width", [3.3, 6.9])
@pytest.mark.parametrize("name", FIGURES)
def test_no_text_is_cut_or_covers_another(name: str, width: float, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = "recall" if name == "long cells" else "gain_retained"
    figure = draw(*FIGURES[name], width=width, measure=measure)
    assert figure.get_size_inches()[0] == width
    shown = texts(figure, monkeypatch)
    assert len(shown) > 4
    for text, box in shown:
        assert "\x1b" not in text.get_text()
        cut = not (box.x0 >= -1 and box.x1 <= figure.bbox.x1 + 1 and box.y0 >= -1 and box.y1 <= figure.bbox.y1 + 1)
        assert not cut, (text, box, figure.bbox)
    upright = [(text, box.padded(-0.5)) for text, box in shown if text.get_rotation() % 90 == 0]
    for (one, a), (other, b) in combinations(upright, 2):
        assert not a.overlaps(b), (one, other)


def test_gain_has_a_curve_per_method_with_its_interval() -> None:
    (axes,) = draw([comparison()]).axes
    drawn = {container.get_label(): container for container in axes.containers}
    line, _, (bars,) = drawn["anchor"].lines
    assert line.get_xdata().tolist() == pytest.approx([1, 10, 40])  # % of 1,000,000 bytes
    assert line.get_ydata().tolist() == pytest.approx([30, 60, 90])
    assert bars.get_segments()[0].tolist() == [[1, pytest.approx(20)], [1, pytest.approx(40)]]
    assert len(drawn["HoPA $x_1$"].lines[0].get_xdata()) == 2  # a gain that is undefined has no point
    assert axes.get_xscale() == "log"
    assert [bool(drawn[name].lines[0].get_markerfacecolor() == "white") for name in ("anchor", "heads in 4 bits")] == [
        False,
        True,
    ]


def test_curves_mark_the_returned_set() -> None:
    figure = draw([learned_run(iteration=6)])
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles[0] == "Matching loss and its rank floor"
    assert titles[1:] == ["Matching loss by modality", "Mean recall on the validation split", "Learned step sizes"]
    validation, steps = figure.axes[2:]
    curve, ring = validation.get_lines()
    assert curve.get_xdata().tolist() == [3, 6, 9, 12]
    assert curve.get_ydata().tolist() == pytest.approx([23, 26, 29, 32])
    assert ring.get_xydata().tolist() == [[6, 26]]
    assert "ring: the returned set" in validation.get_xlabel()
    assert steps.get_yscale() == "log"


def test_several_runs_share_panels_and_have_their_own_marks() -> None:
    validation, loss = draw([learned_run("a", 3), learned_run("b", 9)]).axes
    rings = [line.get_xydata().tolist()[0][0] for line in validation.get_lines() if line.get_markersize() > 6]
    assert rings == [3, 9]
    assert {line.get_label() for line in loss.get_lines()} >= {"a", "b"}


def test_a_run_has_the_same_style_in_every_panel() -> None:
    """Also if another run has no validation scores."""
    first, second = learned_run("a"), learned_run("b")
    records = [replace(each, values={"loss": each.values["loss"]}) for each in first.parts[0].records]
    unvalidated = replace(first, parts=(replace(first.parts[0], records=tuple(records)),))
    figure = draw([unvalidated, second])
    styles = [
        {line.get_label(): line.get_color() for line in axes.get_lines() if line.get_label() in ("a", "b")}
        for axes in figure.axes
    ]
    assert styles[0] == {"b": styles[1]["b"]}
    assert styles[1]["a"] != styles[1]["b"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]


def test_intervals_have_a_dot_per_row() -> None:
    (axes,) = draw([comparison((100,))], "intervals", level="R@1").axes
    labels = [text.get_text().replace("\n", " ") for text in axes.get_yticklabels()]
    assert labels == ["zero-shot heads", "all rows, InfoNCE", LONG, "anchor", "HoPA $x_1$"]
    dots = [line for line in axes.get_lines() if line.get_marker() == "o"]
    assert [float(dot.get_xdata()[0]) for dot in dots] == pytest.approx([0, 50, 12.5, 15])
    assert [dot.get_markerfacecolor() == "white" for dot in dots] == [True, True, True, False]
    assert axes.get_xlabel() == "gain retained at R@1, %"
    ends = [line.get_xdata() for line in axes.get_lines() if len(line.get_xdata()) == 2 and line.get_linestyle() == "-"]
    assert [pytest.approx([5, 25])] == [list(end) for end in ends][-1:]


def test_the_reproduced_recall_is_next_to_the_printed_one() -> None:
    figure = draw([paper_tables()], level="R@5", table=5)
    titles = [axes.get_title("left").replace("\n", " ") for axes in figure.axes]
    assert titles == [f"5 on {name}: pairs, anchors and the proxy" for name in ("msrvtt", "didemo")]
    axes = figure.axes[-1]
    labels = [text.get_text().replace("\n", " ") for text in axes.get_yticklabels()]
    assert labels == ["all rows, InfoNCE", "HoPA, N = 100", "MTT (pairs), N = 100 (failed)", "anchor $x_1$, N = 100"]
    assert axes.get_xlabel() == "mean R@5, %"
    rows = dict(zip(axes.get_yticks().tolist(), labels, strict=True))
    drawn = {
        marker: {
            rows[float(y)]: float(x)
            for line in axes.get_lines()
            if line.get_marker() == marker and (line.get_markerfacecolor() == "white") == hollow
            for x, y in line.get_xydata()
        }
        for marker, hollow in (("o", False), ("D", True))
    }
    assert drawn["o"] == pytest.approx({labels[0]: 45, labels[1]: 38.75, labels[3]: 41})
    assert drawn["D"] == pytest.approx({labels[0]: 42.6, labels[1]: 41.6, labels[2]: 40})
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ours", "paper"]
    assert len(draw([paper_tables()]).axes) == 3


@pytest.mark.parametrize(("measure", "cells"), [("gain_retained", "105 50 –"), ("recall", "35.0 16.7 –")])
def test_heat_maps_show_the_value_of_every_cell(measure: str, cells: str) -> None:
    (axes,) = draw([crossed()], measure=measure).axes
    assert [text.get_text() for text in axes.texts][:3] == cells.split()
    assert [text.get_text() for text in axes.get_xticklabels()] == ["own", "mlp-2", "width-4"]
    assert axes.get_yticklabels()[0].get_text() == "one, own"


def test_files_are_deterministic_and_ready_for_papers() -> None:
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path", "pdf.fonttype": 3}):  # of a user
        first = {name: draw([comparison()]).encoded(name) for name in ("svg", "pdf", "png")}
    assert first == {name: draw([comparison()]).encoded(name) for name in first}
    assert b">anchor</text>" in first["svg"]
    assert b"HoPA $x_1$" in first["svg"]  # no formula
    assert b"Date" not in first["svg"] + first["pdf"]
    assert b"/CIDFontType2" in first["pdf"]  # TrueType
    assert b"/Type3" not in first["pdf"]
    assert b'width="237.6pt"' in first["svg"]  # 3.3 inches


def test_series_differ_without_colour() -> None:
    styles = [SeriesStyle.of(number) for number in range(28)]
    assert len({(style.marker, str(style.dash)) for style in styles}) == 28
    assert len({style.colour for style in styles[:7]}) == 7


@pytest.mark.parametrize(
    ("sources", "options", "message"),
    [
        ([comparison((10,))], {"kind": "gain"}, "kind='gain' needs one comparison with several sizes or budgets"),
        ([comparison()], {"kind": "gains"}, "kind='gains': unknown; kinds: gain, curves, .* did you mean 'gain'"),
        ([comparison()], {"level": "R@50"}, "level='R@50': not in the results; choose from R@1, R@5"),
        ([comparison()], {"width": 0.1}, "width=0.1: expected 1 to 40 inches"),
        ([comparison()], {"width": float("nan")}, "width=nan: expected"),
        ([crossed()], {"measure": "gain"}, "measure='gain': unknown; measures: gain_retained, recall"),
        ([comparison(), crossed()], {}, "no figure can be drawn from these sources; possible are: gain"),
        ([PlottedRun("run", ())], {}, "no figure can be drawn"),
        ([paper_tables()], {"table": "7"}, "table='7': not in the results; choose from 5, figure-2"),
        ([paper_tables().evolve(sections=())], {}, "no table of the paper is finished yet"),
        ([enormous()], {}, "a figure of 3,000 rows would be 5\\d\\d inches tall, but the limit is 200 inches"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(sources: list[Source], options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        draw(sources, **options)
    assert "\n" not in str(caught.value)


def test_kinds_have_different_names() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS) == 6
