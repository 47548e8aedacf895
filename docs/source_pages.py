"""Pages with the source code of modules, to which the Python reference links: there is no address of a repository."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

HIDDEN = "---\nhide: [navigation, toc]\nsearch:\n  exclude: true\n---"


def pages(modules: Iterable[str]) -> dict[str, str]:
    """Return {path below docs: Markdown} of the modules with these names; line n has the anchor `line-n`."""
    return {f"source/{name}.md": f"{HIDDEN}\n\n# {name}\n\n{_listing(name)}\n" for name in sorted(set(modules))}


def _listing(name: str) -> str:
    path = sys.modules[name].__file__
    assert path is not None
    formatter = HtmlFormatter(cssclass="highlight source", linespans="line", wrapcode=True)
    return highlight(Path(path).read_text("utf-8"), PythonLexer(), formatter)
