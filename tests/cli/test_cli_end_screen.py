"""The last screen of a long command: one layout, wrapped, at most 24 lines, and commands that can be pasted."""

from __future__ import annotations

from omnidistill.cli.end_screen import MOST_LINES, end_screen

NEXT = "next   omnidistill evaluate " + "very-long-name/" * 8


def test_labels_are_in_a_column_and_texts_are_wrapped_next_to_it() -> None:
    lines = ["set      RUN/distilled", "chosen step size = 0.5 because of a long reason", "  more about it", NEXT]
    assert end_screen(lines, 30) == [
        "set      RUN/distilled",
        "chosen   step size = 0.5",
        "         because of a long",
        "         reason",
        "         more about it",
        f"next     {NEXT[7:]}",
    ]
    assert end_screen(lines)[1] == "chosen   step size = 0.5 because of a long reason"


def test_long_lists_are_cut_so_that_everything_fits_on_one_screen() -> None:
    notes = [f"note {number} of many" for number in range(40)]
    shown = end_screen(["set SET", "chosen a = 1 (best)", *notes, "files a.json", NEXT], 80)
    assert len(shown) == MOST_LINES
    assert shown[:3] == ["set      SET", "chosen   a = 1 (best)", "note     0 of many"]
    assert shown[-3:] == [
        "note     21 more lines are left out; --json prints all",
        "files    a.json",
        f"next     {NEXT[7:]}",
    ]
