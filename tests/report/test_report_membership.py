"""The page shows the membership attacks if they were measured: every AUC, the control and what the numbers mean."""

from __future__ import annotations

from typing import Any

import pytest
from test_report_page import Page, view
from test_report_tables import sample

from omnidistill.evaluation.membership import LABELS
from omnidistill.report.page import render_page


def measured(control_low: float) -> dict[str, Any]:
    """The content of scores.json with membership attacks."""
    means = {"loss": 0.9, "nearest_row": 0.68, "loss_full": 0.95, "loss_initial": 0.52}
    auc = {name: {"mean": mean, "low": mean - 0.02, "high": mean + 0.02} for name, mean in means.items()}
    auc["loss_initial"]["low"] = control_low
    return sample() | {"membership": {"members": 1666, "others": 362, "auc": auc}}


@pytest.mark.parametrize(
    ("control_low", "sentence"),
    [(0.49, "The interval of the control contains 0.5"), (0.51, "compare the attacks with the control")],
)
def test_attacks_and_their_control_are_on_the_page(control_low: float, sentence: str) -> None:
    page = Page(render_page([view(measured(control_low))]))
    assert set(LABELS.values()) <= set(page.inside("th"))
    assert {"0.900 [0.880, 0.920]", f"0.520 [{control_low:.3f}, 0.540]"} <= set(page.inside("td"))
    assert "1,666 training and 362 test groups" in page.text
    assert "with heads trained on this set, it is 0.900" in page.text
    assert sentence in page.text
    assert {"href": "#membership-1"} in page.all("a")


def test_a_run_without_this_measurement_has_no_such_section() -> None:
    pages = [render_page([view()]), render_page([view(), view(measured(0.49))])]
    assert "Membership" not in pages[0]
    assert pages[1].count('<h2 id="membership-2">Membership inference: ') == 1
    assert "membership-1" not in pages[1]
