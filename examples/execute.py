"""Executes the notebooks of this folder and keeps what they show; no kernel is needed.

    python examples/execute.py [NOTEBOOK ...]       # all, in place; their runs go to a folder that is thrown away

Every code cell of a notebook is run in one namespace. Kept are what it prints and the value of its last expression.
"""

from __future__ import annotations

import ast
import io
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

EXAMPLES = Path(__file__).parent


def outputs(notebook: dict[str, Any]) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """(cell, its outputs as a notebook has them) of every code cell, executed in order."""
    page = ModuleType("__main__")
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(code, 1):
        tree, value, printed = ast.parse("".join(cell["source"]), f"cell {number}"), None, io.StringIO()
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        with redirect_stdout(printed):
            exec(compile(tree, f"cell {number}", "exec"), vars(page))
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), vars(page))
        shown: list[dict[str, Any]] = []
        if printed.getvalue():
            shown.append({"name": "stdout", "output_type": "stream", "text": _lines(printed.getvalue())})
        if value is not None:
            data = {"text/plain": _lines(repr(value))}
            if hasattr(value, "_repr_html_"):
                data = {"text/html": _lines(value._repr_html_()), "text/plain": [f"<{type(value).__name__}>"]}
            shown.append({"data": data, "execution_count": number, "metadata": {}, "output_type": "execute_result"})
        yield cell, shown


def execute(path: Path) -> None:
    """Run a notebook and write its outputs into it."""
    notebook = json.loads(path.read_text("utf-8"))
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        for number, (cell, shown) in enumerate(outputs(notebook), 1):
            cell.update(execution_count=number, outputs=shown)
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


if __name__ == "__main__":
    for place in [Path(name).resolve() for name in sys.argv[1:]] or sorted(EXAMPLES.resolve().glob("*.ipynb")):
        execute(place)
