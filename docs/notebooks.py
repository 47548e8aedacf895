"""The notebooks of `examples/` as pages of the site, with the outputs that are stored in them.

As a hook of mkdocs (mkdocs.yml) it adds the pages while the site is built. Nothing is executed: `examples/execute.py`
runs the notebooks, and tests/docs/test_examples.py checks that the stored outputs are up to date.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[1] / "examples"


def pages() -> dict[str, str]:
    """Return {path below docs: Markdown} of every notebook."""
    return {f"notebooks/{path.stem}.md": markdown(path) for path in sorted(EXAMPLES.glob("*.ipynb"))}


def markdown(path: Path) -> str:
    """Return the cells of a notebook and their outputs; links are relative to docs/notebooks."""
    cells = [_cell(cell) for cell in json.loads(path.read_text("utf-8"))["cells"]]
    title, _, rest = "\n\n".join(cells).partition("\n")
    source = f"This page is the notebook `examples/{path.name}` of the repository, with its output."
    return f"{title}\n\n{source}\n{rest}\n"


def _cell(cell: dict[str, Any]) -> str:
    text = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return re.sub(r"\]\((?:\.\./docs/([^)]+)|([\w-]+)\.ipynb)\)", _link, text)
    return "\n\n".join([f"```python\n{text}\n```", *(_output(output) for output in cell["outputs"])])


def _link(match: re.Match[str]) -> str:
    page, notebook = match.groups()
    return f"](../{page})" if page else f"]({notebook}.md)"


def _output(output: dict[str, Any]) -> str:
    """Return one output: a table of HTML as it is, anything else as text."""
    if "text/html" in output.get("data", ()):
        return f'<div class="output">{"".join(output["data"]["text/html"])}</div>'
    text = "".join(output["text"] if "text" in output else output["data"]["text/plain"])
    return f"```output\n{text.rstrip()}\n```"


def on_files(files: Any, config: Any) -> Any:
    """Add the pages to the files of the site."""
    from mkdocs.structure.files import File

    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files
