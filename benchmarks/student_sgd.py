"""Learned momentum and weight decay of students: `python benchmarks/student_sgd.py`. Writes results/student_sgd.md.

Sets of 30 rows of the bundled data are distilled by the method `recommended`, with different initial values of the
student's momentum and weight decay. The columns are the learned values and the validation score: the mean of R@1, R@5
and R@10 over all directions, in %. The test split is not used.
"""

from __future__ import annotations

import time

import omnidistill as od
from measuring import RESULTS, Table, machine
from omnidistill.training.recipes import Sgd

VARIANTS = ((0.0, 0.0), (0.5, 0.0), (0.9, 0.0), (0.0, 1e-3), (0.5, 1e-3))


def main() -> None:
    """Distil one set per variant, and print and write the table."""
    data = od.load("emoji")
    start = od.pretrain_heads(data, progress=False)
    rows = []
    for momentum, weight_decay in VARIANTS:
        settings = {"distill.initial_momentum": momentum, "distill.initial_weight_decay": weight_decay}
        started_at = time.monotonic()
        distilled = od.distill(data, preset="recommended", size=30, heads=start, settings=settings, progress=False).set
        seconds, recipe = time.monotonic() - started_at, distilled.recipe
        assert isinstance(recipe, Sgd)
        score = 100 * (distilled.provenance.validation or 0.0)
        rows.append(
            (f"{momentum:g}, {weight_decay:g}", f"{recipe.momentum:.3f}", f"{recipe.weight_decay:.1e}", score, seconds)
        )
        print(*rows[-1], flush=True)
    columns = ("initial momentum, weight decay", "learned momentum", "learned weight decay", "validation %", "seconds")
    note = f"Method recommended, 30 rows of the emoji data, one set each. {machine()}"
    table = Table("Learned momentum and weight decay of students", note, columns, tuple(rows))
    (RESULTS / "student_sgd.md").write_text(table.markdown())


if __name__ == "__main__":
    main()
