"""Text of the page section about membership inference: a table of attacks, and what their numbers mean."""

from __future__ import annotations

from dataclasses import dataclass

from omnidistill.evaluation.intervals import Interval
from omnidistill.evaluation.membership import LABELS, Membership
from omnidistill.report.run_table import TextTable

_GUESSING = 0.5
_ATTACK, _CONTROL = "loss", "loss_initial"


@dataclass(frozen=True)
class ShownMembership:
    """The membership attacks on a set, as text.

    Attributes:
        meaning: a sentence that explains the numbers and names the AUC of the loss attack.
        groups: how many training and test groups were compared.
        control: a sentence about the attack with the initial heads, which have seen neither split.
        table: AUC of each attack with its 95 % interval.
    """

    meaning: str
    groups: str
    control: str
    table: TextTable


def shown_membership(measured: Membership) -> ShownMembership:
    """Return the membership attacks on a set as text for the page."""
    rows = tuple((LABELS.get(name, name), _interval(auc)) for name, auc in measured.auc.items())
    return ShownMembership(
        _meaning(measured.auc.get(_ATTACK)),
        f"{measured.members:,} training and {measured.others:,} test groups",
        _control(measured.auc.get(_CONTROL)),
        TextTable(("Attack", "AUC [95 % interval]"), rows),
    )


def _meaning(auc: Interval | None) -> str:
    of_set = "" if auc is None else f"; with heads trained on this set, it is {auc.mean:.3f}"
    return (
        "The AUC is the probability that an attack gives a random training group a higher score than a random test "
        f"group (guessing: 0.5, certainty: 1){of_set}."
    )


def _control(auc: Interval | None) -> str:
    if auc is None:
        return ""
    if auc.low <= _GUESSING <= auc.high:
        return (
            "The interval of the control contains 0.5: it shows no difference between the splits that would "
            "explain the attacks."
        )
    return (
        "The interval of the control does not contain 0.5: the training and the test split differ in a way that has "
        "nothing to do with the set, so compare the attacks with the control instead of 0.5."
    )


def _interval(auc: Interval) -> str:
    return f"{auc.mean:.3f} [{auc.low:.3f}, {auc.high:.3f}]"
