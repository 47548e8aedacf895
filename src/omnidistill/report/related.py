"""Results of other commands that belong to a run, such as rendered rows. The report page links to them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RelatedResult:
    """A result of another command.

    Attributes:
        title: kind of the result, such as "Rendered rows".
        summary: a sentence about its content.
        path: path of its HTML page, or of its JSON file if it has no page. The path is relative to the folder of the
            report page.
        href: URL of its HTML page, relative to the report page; "" if it has no page.
    """

    title: str
    summary: str
    path: str
    href: str = ""
