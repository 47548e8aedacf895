from __future__ import annotations

import copy
import csv
import io
import re
import subprocess
import sys
from itertools import permutations
from typing import Any

import pytest
from rich.console import Console

from omnidistill.core.errors import InputError
from omnidistill.report.comparison_cells import Cell
from omnidistill.report.comparison_content import Comparison
from omnidistill.report.comparison_table import CSV_HEADER, to_csv, to_markdown, to_rich
from omnidistill.report.latex import to_latex
from omnidistill.report.layouts import comparison_table

KS = ("R@1", "R@5", "R@10")
LAYOUTS = ("retrieval", "variants", "cost", "directions", "curve")
NASTY = r"a|b_c&d%e#f\g$h^i~j{k}"


def line(
    name: str, method: str, label: str, size: int | None, recalls: tuple[float, float, float] | None, **other: Any
) -> dict[str, Any]:
    """A line of M = 2; recall of the directions is 0.05 above and below the mean."""
    recall = recalls and {
        direction: {k: {"mean": mean + shift, "std": 0.01} for k, mean in zip(KS, recalls, strict=True)}
        for direction, shift in (("mean", 0.0), ("image->text", 0.05), ("text->image", -0.05))
    }
    return {
        "name": name,
        "method": method,
        "label": label,
        "kind": "method",
        "size": size,
        "recall": recall,
        "gain_retained": None,
        "difference_to_best": None,
        "seconds": None,
        "bytes": None,
        "peak_bytes": None,
        "choices": None,
        "failures": [],
    } | other


def by_level(*estimates: tuple[float, float, float] | None) -> dict[str, Any]:
    return {
        k: estimate and dict(zip(("mean", "low", "high"), estimate, strict=True))
        for k, estimate in zip(KS, estimates, strict=True)
    }


def sample(layout: str = "retrieval") -> dict[str, Any]:
    """A reference without a size, one of a size, two methods at two sizes, of which some runs failed."""
    lines = [
        line(
            "hopa@10",
            "hopa",
            "HoPA",
            10,
            (0.25, 0.5, 0.6),
            gain_retained=by_level((0.5, 0.4, 0.6), (0.75, 0.5, 1.0), None),
            seconds={"experts": 10.5, "distill": 1200.5, "students": 1.5},
            bytes=123456,
            peak_bytes=900000000,
            choices=80,
        ),
        line(
            "dm@10",
            "dm",
            "matching",
            10,
            (0.25, 0.375, 0.5),
            gain_retained=by_level((0.5, 0.25, 0.75), (-0.25, -0.5, 0.0), None),
            difference_to_best=by_level((0.0, -0.01, 0.01), (-0.125, -0.25, 0.0), (-0.125, -0.25, -0.0625)),
            seconds={"distill": 20.0, "students": 1.5},
            bytes=61728,
            peak_bytes=500,
            choices=1600,
            failures=[{"seed": 1, "error": "loss is\nnot finite"}],
        ),
        line("random@10", "random", "random rows", 10, (0.35, 0.45, 0.5), kind="reference"),
        line("zero-shot", "zero-shot", "zero-shot heads", None, (0.125, 0.25, 0.375), kind="reference"),
        line("hopa@1000", "hopa", "HoPA", 1000, (0.5, 0.55, 0.75), bytes=12345600),
        line("dm@1000", "dm", "matching", 1000, None, failures=[{"seed": seed, "error": "killed"} for seed in (0, 1)]),
    ]
    return {
        "schema": 1,
        "name": "table",
        "command": "omnidistill compare table.toml",
        "layout": layout,
        "data": {"name": "emoji", "widths": {"image": 384, "text": 256}, "rows": {"train": 2250, "test": 1086}},
        "protocol": ["Recall is of the test split."],
        "seeds": [0, 1],
        "num_students": 5,
        "lines": lines,
    }


def read(tree: dict[str, Any]) -> Comparison:
    return Comparison.from_json(tree, "comparison.json")


def unfold(text: str) -> str:
    """Join lines that start with four spaces to the previous line."""
    return text.replace("\n    ", " ")


def terminal(comparison: dict[str, Any], width: int = 100, layout: str | None = None) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(to_rich(read(comparison), layout))
    return "\n".join(text.rstrip() for text in console.export_text().splitlines()) + "\n"


MARKDOWN = {
    "retrieval": """
| Method | image → text R@1 | image → text R@5 | text → image R@1 | text → image R@5 | mean R@1 | mean R@5 |
    mean R@10 | gain retained R@1 | gain retained R@5 | gain retained R@10 | difference to best R@5 | seconds |
    bytes |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| zero-shot heads | 17.5 | 30.0 | 7.5 | 20.0 | 12.5 ± 1.0 | 25.0 ± 1.0 | 37.5 ± 1.0 | n/a | n/a | n/a | – | – | – |
| *10 rows* |  |  |  |  |  |  |  |  |  |  |  |  |  |
| random rows | 40.0 | 50.0 | 30.0 | 40.0 | 35.0 ± 1.0 | 45.0 ± 1.0 | 50.0 ± 1.0 | n/a | n/a | n/a | – | – | – |
| HoPA | **30.0** | **55.0** | **20.0** | **45.0** | **25.0 ± 1.0** | **50.0 ± 1.0** | **60.0 ± 1.0** | 50
    [40, 60] | 75 [50, 100] | n/a | – | 1,212.5 | 123.5 kB |
| matching | **30.0** | 42.5 | **20.0** | 32.5 | **25.0 ± 1.0**† | 37.5 ± 1.0† | 50.0 ± 1.0 | 50 [25, 75] |
    −25 [−50, 0] | n/a | −12.5 [−25.0, 0.0] | 21.5 | 61.7 kB |
| *1,000 rows* |  |  |  |  |  |  |  |  |  |  |  |  |  |
| HoPA | **55.0** | **60.0** | **45.0** | **50.0** | **50.0 ± 1.0** | **55.0 ± 1.0** | **75.0 ± 1.0** | n/a |
    n/a | n/a | – | – | 12.3 MB |
| matching | failed | failed | failed | failed | failed | failed | failed | failed | failed | failed | failed
    | failed | failed |
""",
    "variants": """
| Method | 10 rows R@1 | 10 rows R@5 | 10 rows R@10 | 1,000 rows R@1 | 1,000 rows R@5 | 1,000 rows R@10 |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
| zero-shot heads | 12.5 ± 1.0 | 25.0 ± 1.0 | 37.5 ± 1.0 | 12.5 ± 1.0 | 25.0 ± 1.0 | 37.5 ± 1.0 |
| random rows | 35.0 ± 1.0 | 45.0 ± 1.0 | 50.0 ± 1.0 | – | – | – |
| HoPA | **25.0 ± 1.0** | **50.0 ± 1.0** | **60.0 ± 1.0** | **50.0 ± 1.0** | **55.0 ± 1.0** | **75.0 ± 1.0** |
| matching | **25.0 ± 1.0**† | 37.5 ± 1.0† | 50.0 ± 1.0 | failed | failed | failed |
""",
    "cost": """
| Method | seconds experts | seconds distill | seconds students | seconds total | bytes of the set | peak
    memory | students evaluated on validation |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| zero-shot heads | – | – | – | – | – | – | – |
| *10 rows* |  |  |  |  |  |  |  |
| random rows | – | – | – | – | – | – | – |
| HoPA | 10.5 | 1,200.5 | 1.5 | 1,212.5 | 123.5 kB | 900.0 MB | 80 |
| matching | – | 20.0 | 1.5 | 21.5 | 61.7 kB | 500 B | 1,600 |
| *1,000 rows* |  |  |  |  |  |  |  |
| HoPA | – | – | – | – | 12.3 MB | – | – |
| matching | failed | failed | failed | failed | failed | failed | failed |
""",
    "directions": """
| Method | image → text R@1 | image → text R@5 | image → text R@10 | text → image R@1 | text → image R@5 |
    text → image R@10 |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
| zero-shot heads | 17.5 ± 1.0 | 30.0 ± 1.0 | 42.5 ± 1.0 | 7.5 ± 1.0 | 20.0 ± 1.0 | 32.5 ± 1.0 |
| *10 rows* |  |  |  |  |  |  |
| random rows | 40.0 ± 1.0 | 50.0 ± 1.0 | 55.0 ± 1.0 | 30.0 ± 1.0 | 40.0 ± 1.0 | 45.0 ± 1.0 |
| HoPA | **30.0 ± 1.0** | **55.0 ± 1.0** | **65.0 ± 1.0** | **20.0 ± 1.0** | **45.0 ± 1.0** | **55.0 ± 1.0** |
| matching | **30.0 ± 1.0** | 42.5 ± 1.0 | 55.0 ± 1.0 | **20.0 ± 1.0** | 32.5 ± 1.0 | 45.0 ± 1.0 |
| *1,000 rows* |  |  |  |  |  |  |
| HoPA | **55.0 ± 1.0** | **60.0 ± 1.0** | **80.0 ± 1.0** | **45.0 ± 1.0** | **50.0 ± 1.0** | **70.0 ± 1.0** |
| matching | failed | failed | failed | failed | failed | failed |
""",
    "curve": """
| Method | 10 rows R@1 | 10 rows R@5 | 10 rows R@10 | 1,000 rows R@1 | 1,000 rows R@5 | 1,000 rows R@10 |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
| zero-shot heads | n/a | n/a | n/a | n/a | n/a | n/a |
| random rows | n/a | n/a | n/a | – | – | – |
| HoPA | 50 [40, 60] | 75 [50, 100] | n/a | n/a | n/a | n/a |
| matching | 50 [25, 75] | −25 [−50, 0] | n/a | failed | failed | failed |
""",
}
LATEX = {
    "retrieval": r"""
\begin{tabular}{lrrrrrrrrrrrrr}
\toprule
 & \multicolumn{2}{c}{image $\to$ text} & \multicolumn{2}{c}{text $\to$ image} & \multicolumn{3}{c}{mean} &
    \multicolumn{3}{c}{gain retained} & \multicolumn{1}{c}{difference to best} &  &  \\
\cmidrule(lr){2-3} \cmidrule(lr){4-5} \cmidrule(lr){6-8} \cmidrule(lr){9-11} \cmidrule(lr){12-12}
Method & R@1 & R@5 & R@1 & R@5 & R@1 & R@5 & R@10 & R@1 & R@5 & R@10 & R@5 & seconds & bytes \\
\midrule
zero-shot heads & 17.5 & 30.0 & 7.5 & 20.0 & 12.5 $\pm$ 1.0 & 25.0 $\pm$ 1.0 & 37.5 $\pm$ 1.0 & n/a & n/a &
    n/a & -- & -- & -- \\
\midrule
\multicolumn{14}{l}{\emph{10 rows}} \\
random rows & 40.0 & 50.0 & 30.0 & 40.0 & 35.0 $\pm$ 1.0 & 45.0 $\pm$ 1.0 & 50.0 $\pm$ 1.0 & n/a & n/a & n/a &
    -- & -- & -- \\
HoPA & \textbf{30.0} & \textbf{55.0} & \textbf{20.0} & \textbf{45.0} & \textbf{25.0 $\pm$ 1.0} & \textbf{50.0
    $\pm$ 1.0} & \textbf{60.0 $\pm$ 1.0} & 50 [40, 60] & 75 [50, 100] & n/a & -- & 1,212.5 & 123.5 kB \\
matching & \textbf{30.0} & 42.5 & \textbf{20.0} & 32.5 & \textbf{25.0 $\pm$ 1.0}$^\dagger$ & 37.5 $\pm$
    1.0$^\dagger$ & 50.0 $\pm$ 1.0 & 50 [25, 75] & $-$25 [$-$50, 0] & n/a & $-$12.5 [$-$25.0, 0.0] & 21.5 & 61.7
    kB \\
\midrule
\multicolumn{14}{l}{\emph{1,000 rows}} \\
HoPA & \textbf{55.0} & \textbf{60.0} & \textbf{45.0} & \textbf{50.0} & \textbf{50.0 $\pm$ 1.0} & \textbf{55.0
    $\pm$ 1.0} & \textbf{75.0 $\pm$ 1.0} & n/a & n/a & n/a & -- & -- & 12.3 MB \\
matching & failed & failed & failed & failed & failed & failed & failed & failed & failed & failed & failed &
    failed & failed \\
\bottomrule
\end{tabular}
""",
    "variants": r"""
\begin{tabular}{lrrrrrr}
\toprule
 & \multicolumn{3}{c}{10 rows} & \multicolumn{3}{c}{1,000 rows} \\
\cmidrule(lr){2-4} \cmidrule(lr){5-7}
Method & R@1 & R@5 & R@10 & R@1 & R@5 & R@10 \\
\midrule
zero-shot heads & 12.5 $\pm$ 1.0 & 25.0 $\pm$ 1.0 & 37.5 $\pm$ 1.0 & 12.5 $\pm$ 1.0 & 25.0 $\pm$ 1.0 & 37.5
    $\pm$ 1.0 \\
random rows & 35.0 $\pm$ 1.0 & 45.0 $\pm$ 1.0 & 50.0 $\pm$ 1.0 & -- & -- & -- \\
\midrule
HoPA & \textbf{25.0 $\pm$ 1.0} & \textbf{50.0 $\pm$ 1.0} & \textbf{60.0 $\pm$ 1.0} & \textbf{50.0 $\pm$ 1.0} &
    \textbf{55.0 $\pm$ 1.0} & \textbf{75.0 $\pm$ 1.0} \\
matching & \textbf{25.0 $\pm$ 1.0}$^\dagger$ & 37.5 $\pm$ 1.0$^\dagger$ & 50.0 $\pm$ 1.0 & failed & failed & failed \\
\bottomrule
\end{tabular}
""",
    "cost": r"""
\begin{tabular}{lrrrrrrr}
\toprule
 & \multicolumn{4}{c}{seconds} &  &  &  \\
\cmidrule(lr){2-5}
Method & experts & distill & students & total & bytes of the set & peak memory & students evaluated on validation \\
\midrule
zero-shot heads & -- & -- & -- & -- & -- & -- & -- \\
\midrule
\multicolumn{8}{l}{\emph{10 rows}} \\
random rows & -- & -- & -- & -- & -- & -- & -- \\
HoPA & 10.5 & 1,200.5 & 1.5 & 1,212.5 & 123.5 kB & 900.0 MB & 80 \\
matching & -- & 20.0 & 1.5 & 21.5 & 61.7 kB & 500 B & 1,600 \\
\midrule
\multicolumn{8}{l}{\emph{1,000 rows}} \\
HoPA & -- & -- & -- & -- & 12.3 MB & -- & -- \\
matching & failed & failed & failed & failed & failed & failed & failed \\
\bottomrule
\end{tabular}
""",
    "directions": r"""
\begin{tabular}{lrrrrrr}
\toprule
 & \multicolumn{3}{c}{image $\to$ text} & \multicolumn{3}{c}{text $\to$ image} \\
\cmidrule(lr){2-4} \cmidrule(lr){5-7}
Method & R@1 & R@5 & R@10 & R@1 & R@5 & R@10 \\
\midrule
zero-shot heads & 17.5 $\pm$ 1.0 & 30.0 $\pm$ 1.0 & 42.5 $\pm$ 1.0 & 7.5 $\pm$ 1.0 & 20.0 $\pm$ 1.0 & 32.5
    $\pm$ 1.0 \\
\midrule
\multicolumn{7}{l}{\emph{10 rows}} \\
random rows & 40.0 $\pm$ 1.0 & 50.0 $\pm$ 1.0 & 55.0 $\pm$ 1.0 & 30.0 $\pm$ 1.0 & 40.0 $\pm$ 1.0 & 45.0 $\pm$ 1.0 \\
HoPA & \textbf{30.0 $\pm$ 1.0} & \textbf{55.0 $\pm$ 1.0} & \textbf{65.0 $\pm$ 1.0} & \textbf{20.0 $\pm$ 1.0} &
    \textbf{45.0 $\pm$ 1.0} & \textbf{55.0 $\pm$ 1.0} \\
matching & \textbf{30.0 $\pm$ 1.0} & 42.5 $\pm$ 1.0 & 55.0 $\pm$ 1.0 & \textbf{20.0 $\pm$ 1.0} & 32.5 $\pm$
    1.0 & 45.0 $\pm$ 1.0 \\
\midrule
\multicolumn{7}{l}{\emph{1,000 rows}} \\
HoPA & \textbf{55.0 $\pm$ 1.0} & \textbf{60.0 $\pm$ 1.0} & \textbf{80.0 $\pm$ 1.0} & \textbf{45.0 $\pm$ 1.0} &
    \textbf{50.0 $\pm$ 1.0} & \textbf{70.0 $\pm$ 1.0} \\
matching & failed & failed & failed & failed & failed & failed \\
\bottomrule
\end{tabular}
""",
    "curve": r"""
\begin{tabular}{lrrrrrr}
\toprule
 & \multicolumn{3}{c}{10 rows} & \multicolumn{3}{c}{1,000 rows} \\
\cmidrule(lr){2-4} \cmidrule(lr){5-7}
Method & R@1 & R@5 & R@10 & R@1 & R@5 & R@10 \\
\midrule
zero-shot heads & n/a & n/a & n/a & n/a & n/a & n/a \\
random rows & n/a & n/a & n/a & -- & -- & -- \\
\midrule
HoPA & 50 [40, 60] & 75 [50, 100] & n/a & n/a & n/a & n/a \\
matching & 50 [25, 75] & $-$25 [$-$50, 0] & n/a & failed & failed & failed \\
\bottomrule
\end{tabular}
""",
}
TERMINAL = {
    "retrieval": """
emoji: table

                        R@1 %         R@5 %      R@10 %          difference   seconds
 Method                gain %        gain %      gain %         to best R@5     bytes
 ────────────────────────────────────────────────────────────────────────────────────
 zero-shot heads   12.5 ± 1.0    25.0 ± 1.0  37.5 ± 1.0                   –         –
                          n/a           n/a         n/a                             –

 10 rows
 random rows       35.0 ± 1.0    45.0 ± 1.0  50.0 ± 1.0                   –         –
                          n/a           n/a         n/a                             –
 HoPA              25.0 ± 1.0    50.0 ± 1.0  60.0 ± 1.0                   –   1,212.5
                  50 [40, 60]  75 [50, 100]         n/a                      123.5 kB
 matching         25.0 ± 1.0†   37.5 ± 1.0†  50.0 ± 1.0  −12.5 [−25.0, 0.0]      21.5
                  50 [25, 75]  −25 [−50, 0]         n/a                       61.7 kB

 1,000 rows
 HoPA              50.0 ± 1.0    55.0 ± 1.0  75.0 ± 1.0                   –         –
                          n/a           n/a         n/a                       12.3 MB
 matching              failed        failed      failed              failed    failed
                       failed        failed      failed                        failed
""",
    "variants": """
emoji: table

 Method                               R@1          R@5        R@10
 ─────────────────────────────────────────────────────────────────
 zero-shot heads  10 rows      12.5 ± 1.0   25.0 ± 1.0  37.5 ± 1.0
                  1,000 rows   12.5 ± 1.0   25.0 ± 1.0  37.5 ± 1.0

 random rows      10 rows      35.0 ± 1.0   45.0 ± 1.0  50.0 ± 1.0
                  1,000 rows            –            –           –

 HoPA             10 rows      25.0 ± 1.0   50.0 ± 1.0  60.0 ± 1.0
                  1,000 rows   50.0 ± 1.0   55.0 ± 1.0  75.0 ± 1.0

 matching         10 rows     25.0 ± 1.0†  37.5 ± 1.0†  50.0 ± 1.0
                  1,000 rows       failed       failed      failed
""",
    "cost": """
emoji: table

                                                                                    students
                  seconds  seconds   seconds  seconds   bytes of                evaluated on
 Method           experts  distill  students    total    the set   peak memory    validation
 ───────────────────────────────────────────────────────────────────────────────────────────
 zero-shot heads        –        –         –        –          –             –             –

 10 rows
 random rows            –        –         –        –          –             –             –
 HoPA                10.5  1,200.5       1.5  1,212.5   123.5 kB      900.0 MB            80
 matching               –     20.0       1.5     21.5    61.7 kB         500 B         1,600

 1,000 rows
 HoPA                   –        –         –        –    12.3 MB             –             –
 matching          failed   failed    failed   failed     failed        failed        failed
""",
    "directions": """
emoji: table

 Method                                R@1         R@5        R@10
 ─────────────────────────────────────────────────────────────────
 zero-shot heads  image → text  17.5 ± 1.0  30.0 ± 1.0  42.5 ± 1.0
                  text → image   7.5 ± 1.0  20.0 ± 1.0  32.5 ± 1.0

 10 rows

 random rows      image → text  40.0 ± 1.0  50.0 ± 1.0  55.0 ± 1.0
                  text → image  30.0 ± 1.0  40.0 ± 1.0  45.0 ± 1.0

 HoPA             image → text  30.0 ± 1.0  55.0 ± 1.0  65.0 ± 1.0
                  text → image  20.0 ± 1.0  45.0 ± 1.0  55.0 ± 1.0

 matching         image → text  30.0 ± 1.0  42.5 ± 1.0  55.0 ± 1.0
                  text → image  20.0 ± 1.0  32.5 ± 1.0  45.0 ± 1.0

 1,000 rows

 HoPA             image → text  55.0 ± 1.0  60.0 ± 1.0  80.0 ± 1.0
                  text → image  45.0 ± 1.0  50.0 ± 1.0  70.0 ± 1.0

 matching         image → text      failed      failed      failed
                  text → image      failed      failed      failed
""",
    "curve": """
emoji: table

 Method                               R@1           R@5    R@10
 ──────────────────────────────────────────────────────────────
 zero-shot heads  10 rows             n/a           n/a     n/a
                  1,000 rows          n/a           n/a     n/a

 random rows      10 rows             n/a           n/a     n/a
                  1,000 rows            –             –       –

 HoPA             10 rows     50 [40, 60]  75 [50, 100]     n/a
                  1,000 rows          n/a           n/a     n/a

 matching         10 rows     50 [25, 75]  −25 [−50, 0]     n/a
                  1,000 rows       failed        failed  failed
""",
}

LEGEND = (
    "Recall and gain retained are in %; the difference to the best method of the size is in percentage points. "
    "± is the standard deviation; brackets contain the interval."
)
BOLD = "Bold: the best method of each size, not including baselines."
DAGGER = "†: the interval of the paired difference to the best method of the size contains 0."
COMMON = [
    "Seeds: 0, 1; students per seed: 5.",
    "Recall is of the test split.",
    "matching, 10 rows, seed 1: loss is not finite",
    "matching, 1,000 rows, seed 0: killed",
    "matching, 1,000 rows, seed 1: killed",
]
NOTES = {
    "retrieval": [
        LEGEND,
        BOLD,
        DAGGER,
        *COMMON,
    ],
    "variants": [
        "Mean recall over directions, in %; ± is the standard deviation.",
        BOLD,
        DAGGER,
        "Rows that do not depend on the size are repeated in every column.",
        *COMMON,
    ],
    "cost": ["Seconds and bytes are for one set.", *COMMON],
    "directions": ["Recall in %, query → gallery; ± is the standard deviation.", BOLD, *COMMON],
    "curve": [
        "Gain retained in %, for the mean recall over directions; brackets contain the interval.",
        "Rows that do not depend on the size are repeated in every column.",
        *COMMON,
    ],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_markdown_is_the_table_and_its_notes_as_a_list(layout: str) -> None:
    table, notes = to_markdown(read(sample(layout))).split("\n\n")
    assert table + "\n" == unfold(MARKDOWN[layout].lstrip("\n"))
    assert notes == "".join(f"- {note}\n" for note in NOTES[layout])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_latex_is_a_tabular_and_its_notes(layout: str) -> None:
    table, notes = to_latex(read(sample(layout))).split("\n\n")
    assert table + "\n" == unfold(LATEX[layout].lstrip("\n"))
    first, *lines, last = notes.splitlines()
    assert (first, lines[0], last) == ("\\smallskip", "{\\footnotesize", "}")
    symbols = {"%": "\\%", "±": "$\\pm$", "†": "$^\\dagger$", "→": "$\\to$"}
    expected = [re.sub("[%±†→]", lambda match: symbols[match[0]], note) + "\\par" for note in NOTES[layout]]
    assert lines[1:] == expected


@pytest.mark.parametrize("layout", LAYOUTS)
def test_terminal_shows_the_table_and_its_notes(layout: str) -> None:
    shown = terminal(sample(layout))
    table = TERMINAL[layout].lstrip("\n")
    assert shown.startswith(table)
    assert " ".join(shown.removeprefix(table).split()) == " ".join(NOTES[layout])


def test_another_layout_may_be_asked_for() -> None:
    comparison = sample("retrieval")
    assert comparison_table(read(comparison), "cost") == comparison_table(read(sample("cost")))
    assert to_markdown(read(comparison), "variants") == to_markdown(read(sample("variants")))
    assert to_latex(read(comparison), "directions") == to_latex(read(sample("directions")))
    assert terminal(comparison, layout="cost") == terminal(sample("cost"))


def cells_of(comparison: dict[str, Any], column: tuple[str, str], heading: str = "10 rows") -> dict[str, Cell]:
    """The cells of one column in one block by label."""
    table = comparison_table(read(comparison))
    block = next(block for block in table.blocks if block.heading == heading)
    return {row[0].text: row[table.columns.index(column)] for row in block.rows}


def test_all_methods_that_are_shown_equal_to_the_best_are_bold() -> None:
    comparison = sample()
    for number, mean in ((0, 0.25004), (1, 0.24996)):
        comparison["lines"][number]["recall"]["mean"]["R@1"]["mean"] = mean
    assert {label: cell.best for label, cell in cells_of(comparison, ("mean", "R@1")).items()} == {
        "random rows": False,
        "HoPA": True,
        "matching": True,
    }
    comparison["lines"][1]["recall"]["mean"]["R@1"]["mean"] = 0.2494
    assert not cells_of(comparison, ("mean", "R@1"))["matching"].best


def test_best_is_decided_by_size_and_column() -> None:
    comparison = sample()
    comparison["lines"][1]["recall"]["text->image"]["R@1"]["mean"] = 0.3
    assert [cell.best for cell in cells_of(comparison, ("text → image", "R@1")).values()] == [False, False, True]
    assert [cell.best for cell in cells_of(comparison, ("mean", "R@5")).values()] == [False, True, False]
    assert cells_of(comparison, ("mean", "R@5"), "1,000 rows")["HoPA"].best


@pytest.mark.parametrize(
    ("low", "high", "tied"), [(-0.1, 0.1, True), (-0.1, 0.0, True), (0.0, 0.1, True), (-0.1, -0.01, False)]
)
def test_dagger_marks_an_interval_that_contains_zero(low: float, high: float, tied: bool) -> None:
    comparison = sample()
    comparison["lines"][1]["difference_to_best"]["R@5"] = {"mean": -0.05, "low": low, "high": high}
    assert cells_of(comparison, ("mean", "R@5"))["matching"].tied is tied
    assert not cells_of(comparison, ("mean", "R@5"))["HoPA"].tied
    comparison["lines"][1]["difference_to_best"]["R@5"] = None
    assert not cells_of(comparison, ("mean", "R@5"))["matching"].tied


def test_bold_reaches_the_terminal() -> None:
    console = Console(width=100, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(to_rich(read(sample())))
    assert "\x1b[1m50.0 ± 1.0\x1b[0m" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_comparison_that_failed_throughout_still_has_its_rows() -> None:
    comparison = sample()
    for one in comparison["lines"]:
        one["recall"] = one["gain_retained"] = one["difference_to_best"] = None
    for layout in LAYOUTS:
        table = comparison_table(read(comparison), layout)
        assert {row[0].text for block in table.blocks for row in block.rows} == {
            *("HoPA", "matching", "random rows", "zero-shot heads")
        }
        assert not any(cell.best or cell.tied for block in table.blocks for row in block.rows for cell in row)
    assert {
        cell.text for row in comparison_table(read(comparison), "directions").blocks[0].rows for cell in row[1:]
    } == {"failed"}
    assert comparison_table(read(comparison), "directions").columns[1] == ("image → text", "R@1")


def test_what_a_failed_line_is_known_to_cost_is_shown() -> None:
    comparison = sample("cost")
    comparison["lines"][5]["seconds"] = {"experts": 3.0}
    row = comparison_table(read(comparison)).blocks[-1].rows[-1]
    assert [cell.text for cell in row] == ["matching", "3.0", "failed", "failed", "3.0", *["failed"] * 3]


def test_lines_of_one_label_and_size_are_told_apart_by_name() -> None:
    comparison = sample("variants")
    comparison["lines"].append({**comparison["lines"][0], "name": "hopa-rank-2@10"})
    labels = [row[0].text for block in comparison_table(read(comparison)).blocks for row in block.rows]
    assert labels[2:] == ["HoPA (hopa@10)", "matching", "HoPA (hopa-rank-2@10)", "HoPA"]


def test_variants_without_any_size_have_one_group() -> None:
    comparison = sample("variants")
    comparison["lines"] = comparison["lines"][3:4]
    table = comparison_table(read(comparison))
    assert table.columns == (("", "Method"), *(("mean", k) for k in KS))
    assert len(table.notes) == 3


# budgets


def of_budgets(layout: str = "retrieval") -> dict[str, Any]:
    """The sample with budgets of 0.25 % and 2 % of the data in place of its sizes; other rows fit in a method's."""
    comparison = sample(layout)
    comparison["data"]["bytes"] = 4_000_000
    for one in comparison["lines"]:
        if one["size"] is not None:
            one["budget"] = 10_000 if one["size"] == 10 else 80_000
            one["name"] = f"{one['method']}@{one['budget']}B"
            one["size"] = {"random": 9, "hopa": 11, "dm": 1}[one["method"]]
    heads = line("equal-bytes@80000B", "equal-bytes", "heads of equal bytes (rank 3)", None, (0.25, 0.375, 0.5))
    comparison["lines"].append({**heads, "kind": "reference", "budget": 80_000})
    return comparison


def test_lines_are_grouped_by_budget_and_methods_tell_their_rows() -> None:
    blocks = comparison_table(read(of_budgets())).blocks
    assert {block.heading: [row[0].text for row in block.rows] for block in blocks} == {
        "": ["zero-shot heads"],
        "0.25 % of the bytes (10.0 kB)": ["random rows", "HoPA, 11 rows", "matching, 1 row"],
        "2 % of the bytes (80.0 kB)": ["heads of equal bytes (rank 3)", "HoPA, 11 rows", "matching, 1 row"],
    }


def test_best_is_decided_by_budget() -> None:
    comparison = of_budgets()
    assert cells_of(comparison, ("mean", "R@5"), "0.25 % of the bytes (10.0 kB)")["HoPA, 11 rows"].best
    assert cells_of(comparison, ("mean", "R@5"), "2 % of the bytes (80.0 kB)")["HoPA, 11 rows"].best
    notes = " ".join(comparison_table(read(comparison)).notes)
    assert "size" not in notes
    assert notes.count("best method of the budget") == 2
    assert "best method of each budget" in notes
    assert "matching, 2 % of the bytes (80.0 kB), seed 0: killed" in notes
    assert "do not depend on the budget" in " ".join(comparison_table(read(comparison), "curve").notes)


def test_budgets_side_by_side_have_a_row_for_each_method_over_all_of_them() -> None:
    table = comparison_table(read(of_budgets()), "curve")
    assert table.columns == (
        ("", "Method"),
        *(("0.25 % (10.0 kB)", k) for k in KS),
        *(("2 % (80.0 kB)", k) for k in KS),
    )
    rows = [[cell.text for cell in row] for block in table.blocks for row in block.rows]
    assert [row[0] for row in rows] == ["zero-shot heads", "random rows", "heads of equal bytes", "HoPA", "matching"]
    assert rows[1][4:] == ["–"] * 3
    assert rows[2][1:4] == ["–"] * 3
    assert rows[3][1:] == ["50 [40, 60]", "75 [50, 100]", "n/a", "n/a", "n/a", "n/a"]


def test_methods_of_one_label_are_told_apart_over_all_budgets() -> None:
    comparison = of_budgets("curve")
    for one in comparison["lines"]:
        if one["kind"] == "method":
            one["label"] = "ours"
    labels = [row[0].text for block in comparison_table(read(comparison)).blocks for row in block.rows]
    assert labels[3:] == ["ours (hopa)", "ours (dm)"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_budgets_fit_the_terminal(layout: str) -> None:
    shown = terminal(of_budgets(layout))
    assert max(map(len, shown.splitlines())) <= 100
    assert "10.0 kB" in shown
    assert "…" not in shown


def test_without_the_bytes_of_the_data_a_budget_is_no_share() -> None:
    comparison = of_budgets()
    del comparison["data"]["bytes"]
    with pytest.raises(InputError, match=r"field data\.bytes is missing; run the comparison again"):
        comparison_table(read(comparison))


def wide(modalities: tuple[str, ...], layout: str) -> dict[str, Any]:
    """The sample over other modalities; all directions are alike."""
    comparison = sample(layout)
    comparison["data"]["widths"] = dict.fromkeys(modalities, 8)
    for one in comparison["lines"]:
        if one["recall"] is not None:
            mean = one["recall"]["mean"]
            one["recall"] = {"mean": mean} | {f"{a}->{b}": mean for a, b in permutations(modalities, 2)}
    return comparison


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("modalities", [("x", "y"), ("depth", "touch", "thermal", "gait")])
def test_any_modalities_fill_every_row_and_fit_the_terminal(modalities: tuple[str, ...], layout: str) -> None:
    comparison = wide(modalities, layout)
    table = comparison_table(read(comparison))
    pairs = len(modalities) * (len(modalities) - 1)
    assert (
        len(table.columns)
        == {"retrieval": 1 + 2 * pairs + 9, "variants": 7, "cost": 8, "directions": 1 + 3 * pairs, "curve": 7}[layout]
    )
    assert {len(row) for block in table.blocks for row in block.rows} == {len(table.columns)}
    shown = terminal(comparison)
    assert max(map(len, shown.splitlines())) <= 100
    assert "…" not in shown
    if layout == "directions":
        assert all(f"{a} → {b}" in shown for a, b in permutations(modalities, 2))


def with_best() -> dict[str, Any]:
    """The sample with gains of the best on all rows, as of a comparison with this baseline."""
    comparison = sample()
    for one in comparison["lines"]:
        if one["recall"] is not None:
            one["gain_retained_best"] = by_level((0.3125, 0.25, 0.375), (0.625, 0.5, 0.75), None)
    return comparison


def test_the_gain_of_the_best_on_all_rows_has_columns_if_it_was_measured() -> None:
    """In every form of the table; in a terminal it is the third number of a cell."""
    comparison = with_best()
    table = comparison_table(read(comparison))
    assert [name for group, name in table.columns if group == "gain of best"] == list(KS)
    assert len(comparison_table(read(sample())).columns) == len(table.columns) - 3
    assert [cell.text for cell in table.blocks[1].rows[1]][11:14] == ["31 [25, 38]", "62 [50, 75]", "n/a"]
    assert [cell.text for cell in table.blocks[2].rows[1]][11:14] == ["failed"] * 3
    assert "| gain of best R@1 | gain of best R@5 | gain of best R@10 |" in to_markdown(read(comparison))
    assert r"\multicolumn{3}{c}{gain of best}" in to_latex(read(comparison))
    assert {len(row) for block in table.blocks for row in block.rows} == {len(table.columns)}
    shown = terminal(comparison)
    assert max(map(len, shown.splitlines())) <= 100
    assert "of best %" in shown
    assert "31 [25, 38]" in shown
    assert "of best %" not in terminal(sample())
    (first, *_) = csv.DictReader(io.StringIO(to_csv(read(comparison))))
    assert [float(first[f"gain_of_best_{part}"]) for part in ("mean", "low", "high")] == [0.3125, 0.25, 0.375]
    assert read(comparison).to_json()["lines"][0]["gain_retained_best"]["R@10"] is None


def test_widest_numbers_and_long_labels_fit_a_hundred_columns() -> None:
    comparison = sample()
    for one in comparison["lines"][:2]:
        one["label"] = "a label that goes on for longer than there is room for " + one["method"]
        one["gain_retained"] = by_level(*[(-1.5, -2.0, -1.25)] * 3)
        one["gain_retained_best"] = by_level(*[(-1.25, -2.5, -1.125)] * 3)
        one["difference_to_best"] = by_level(*[(-0.5, -0.6, 0.4)] * 3)
        one["seconds"] = {"distill": 1234567.0}
        for k in KS:
            one["recall"]["mean"][k] = {"mean": 1.0, "std": 0.25}
    shown = terminal(comparison)
    assert max(map(len, shown.splitlines())) <= 100
    assert "…" not in shown
    for cell in ("100.0 ± 25.0†", "−150 [−200, −125]", "−50.0 [−60.0, +40.0]", "1,234,567.0"):
        assert cell in shown


def test_stacked_numbers_stay_beside_a_direction_that_is_too_long() -> None:
    comparison = wide(("x" * 70, "y"), "directions")
    shown = [text for text in terminal(comparison).splitlines() if "±" in text]
    assert shown[0].count("12.5 ± 1.0") == shown[1].count("12.5 ± 1.0") == 1
    assert "xxx…" in shown[0]
    assert "y → xxx" in shown[1]


def test_directions_of_a_comparison_that_has_only_the_mean_are_none() -> None:
    comparison = sample("directions")
    for one in comparison["lines"]:
        one["recall"] = one["recall"] and {"mean": one["recall"]["mean"]}
    assert comparison_table(read(comparison)).columns == (("", "Method"),)
    assert "zero-shot heads" in terminal(comparison)
    assert "| zero-shot heads |" in to_markdown(read(comparison))


def test_names_are_taken_literally() -> None:
    comparison = wide((NASTY, "text"), "retrieval")
    comparison["lines"][0]["label"] = "[bold]*x*[/bold] " + NASTY
    comparison["lines"][5]["failures"] = [{"seed": 0, "error": "see [a](http://b) --x <c>"}]
    markdown, latex = to_markdown(read(comparison)), to_latex(read(comparison))
    assert r"a\|b\_c\&d%e\#f\\g\$h\^i\~j\{k\} → text R@1" in markdown
    assert r"| [bold]\*x\*[/bold] a\|b\_c\&d%e\#f\\g\$h\^i\~j\{k\} |" in markdown
    assert r"seed 0: see [a]\(http://b) --x \<c\>" in markdown
    rows = [row for row in markdown.splitlines() if row.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {15}
    nasty = r"a\textbar{}b\_c\&d\%e\#f\textbackslash{}g\$h\textasciicircum{}i\textasciitilde{}j\{k\}"
    assert rf"\multicolumn{{2}}{{c}}{{{nasty} $\to$ text}}" in latex
    assert f"\n{{}}[bold]*x*[/bold] {nasty} & " in latex
    assert r"seed 0: see [a](http://b) -{}-x \textless{}c\textgreater{}\par" in latex
    shown = terminal(wide(("[red]a[/red]", "b"), "directions"))
    assert "[red]a[/red] → b" in shown


def test_csv_reads_back_as_the_exact_numbers() -> None:
    comparison = sample()
    comparison["lines"][0]["recall"]["mean"]["R@1"]["mean"] = 0.1 + 0.2
    comparison["lines"][1]["recall"]["text->image"]["R@10"]["std"] = None
    comparison["lines"][1]["label"] = 'match, "ing"\nset'
    comparison["lines"][0]["choices"] = 25
    header, *_ = text = to_csv(read(comparison)).splitlines()
    assert header == ",".join(CSV_HEADER)
    assert text[1].endswith(",10.5,1200.5,1.5,123456,900000000,25")
    records = list(csv.DictReader(io.StringIO(to_csv(read(comparison)))))
    assert len(records) == 5 * 3 * 3 + 1
    lines = {one["name"]: one for one in comparison["lines"]}

    def number(text: str) -> float | None:
        return float(text) if text else None

    seen = set()
    for record in records:
        one, direction, k = lines[record["line"]], record["direction"], record["metric"]
        seen.add((record["line"], direction, k))
        assert [record[name] for name in ("method", "label", "kind")] == [
            *(one["method"], one["label"], one["kind"]),
        ]
        assert number(record["size"]) == one["size"]
        assert number(record["budget"]) == one.get("budget")
        recall = one["recall"][direction][k] if one["recall"] else {"mean": None, "std": None}
        assert (number(record["mean"]), number(record["std"])) == (recall["mean"], recall["std"])
        for name, field in (
            ("gain", "gain_retained"),
            ("gain_of_best", "gain_retained_best"),
            ("difference", "difference_to_best"),
        ):
            estimate = ((one.get(field) or {}).get(k) if direction == "mean" else None) or {}
            for part in ("mean", "low", "high"):
                assert number(record[f"{name}_{part}"]) == estimate.get(part)
        for stage in ("experts", "distill", "students"):
            assert number(record[f"seconds_{stage}"]) == (one["seconds"] or {}).get(stage)
        for name in ("bytes", "peak_bytes", "choices"):
            assert number(record[name]) == one[name]
    assert len(seen) == len(records)
    assert records[-1]["line"] == "dm@1000"
    assert records[-1]["metric"] == ""


def test_unknown_keys_change_nothing_and_the_input_is_left_alone() -> None:
    comparison = sample()
    before = copy.deepcopy(comparison)
    extended = copy.deepcopy(comparison) | {"later": 1}
    extended["lines"][0]["later"] = [1]
    assert comparison_table(read(extended)) == comparison_table(read(comparison))
    to_csv(read(comparison)), terminal(comparison)
    assert comparison == before


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("schema",), 2, r"field schema is 2, but this version reads 1; "),
        (("layout",), "retrival", r"field 'layout' is 'retrival'; allowed values: .*did you mean 'retrieval'"),
        (("lines",), [], r"field lines is \[\]: "),
        (("lines", 1, "kind"), "method\n", r"field lines\.1\.kind is 'method\\n': "),
        (("lines", 1, "size"), 0, r"field lines\.1\.size is 0: "),
        (("lines", 1, "name"), "hopa@10", r"field 'lines' contains 2 rows named 'hopa@10'"),
        (("lines", 1, "recall", "mean"), {}, r"field lines\.1\.recall\.mean is missing"),
        (("lines", 1, "recall", "mean", "R@1", "mean"), "0.25", r"lines\.1\.recall\.mean\.R@1\.mean is '0\.25': "),
        (("lines", 1, "recall", "mean", "R@1", "mean"), float("nan"), r"lines\.1\.recall\.mean\.R@1\.mean is nan: "),
        (("lines", 1, "recall", "mean", "R@1", "mean"), 25.0, r"lines\.1\.recall\.mean\.R@1\.mean is 25\.0: "),
        (("lines", 1, "recall", "mean", "MRR"), {"mean": 0.5}, r"field lines\.1\.recall\.mean\.MRR is 'MRR': "),
        (("lines", 1, "recall", "mean", "R@2"), {"mean": 0.5}, r"lines\.1\.recall\.mean has levels other than R@1, "),
        (("lines", 1, "recall", "a\nb"), {}, r"lines\.1\.recall has directions other than image->text, mean, "),
        (("lines", 1, "seconds", "distill"), -1.0, r"field lines\.1\.seconds\.distill is -1\.0: "),
        (("lines", 1, "difference_to_best", "R@5"), {"mean": 0.0}, r"difference_to_best\.R@5\.low is missing"),
        (("lines", 1, "failures"), [{"seed": 0}], r"field lines\.1\.failures\.0\.error is missing"),
    ],
)
def test_damaged_comparisons_are_refused_in_one_line(path: tuple[Any, ...], value: Any, message: str) -> None:
    comparison = sample()
    place: Any = comparison
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    with pytest.raises(InputError, match=message) as caught:
        comparison_table(read(comparison))
    assert "\n" not in str(caught.value)


def test_a_missing_field_and_a_foreign_file_are_refused() -> None:
    comparison = sample()
    del comparison["lines"][2]["label"]
    with pytest.raises(InputError, match=r"field lines\.2\.label is missing; run the comparison again"):
        to_csv(read(comparison))
    with pytest.raises(InputError, match="field schema is missing"):
        read({"scores": 1})
    with pytest.raises(InputError, match="field 'layout' is 'tabel'"):
        to_latex(read(sample()), "tabel")


def test_rich_is_not_imported_before_a_terminal_table_is_wanted() -> None:
    code = "import sys, omnidistill.report.comparison_table; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
