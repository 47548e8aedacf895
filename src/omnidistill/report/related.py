"""Results of other commands that belong to a run, such as rendered rows. The report page links to them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RelatedResult:
    """A result of another command.

    Attributes:
        title: what the result is.
        summary: a sentence about its content.
        path: path of its page or, if it has none, of its folder, relative to the report page.
        href: URL of its page, relative to the report page; "" if it has no page.
    """

    title: str
    summary: str
    path: str
    href: str = ""
