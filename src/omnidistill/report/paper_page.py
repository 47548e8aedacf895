"""A self-contained HTML page with the tables of the HoPA paper: our measurements, and the values printed in the paper.

Texts from the data are escaped; a content security policy allows only the page's own style and script.
"""

from __future__ import annotations

from markupsafe import Markup

from omnidistill.report.page import render_template
from omnidistill.report.paper_content import PaperContent
from omnidistill.report.paper_table import OURS, PRINTED, paper_chart, paper_views, section_notes


def render_paper(content: PaperContent) -> str:
    """Return the page as HTML; the same content gives the same bytes."""
    sections = []
    for section in content.sections:
        chart = paper_chart(section)
        views = list(paper_views(section))
        sections.append((section, views, None if chart is None else Markup(chart), section_notes(section)))
    return render_template("paper.html.jinja", content=content, sections=sections, whose=(OURS, PRINTED))
