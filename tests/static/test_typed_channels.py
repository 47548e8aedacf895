"""Packages exchange typed values: no public function takes or returns a dictionary of unknown content.

JSON is such a dictionary, so it is allowed where JSON is read or written: on disk, in settings trees, in `to_json` and
`from_json`, and at the edges where the content belongs to the user.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import omnidistill

SOURCE = Path(omnidistill.__file__).parent
JSON_EDGES = (
    "io/",  # artifacts and logs are JSON
    "experiments/config/",  # settings trees, as TOML gives them
    "experiments/inspection/",  # what a folder holds, printed as JSON
    "distillation/version_0_1.py",  # JSON of version 0.1
    "cli/",  # content of --json
)
JSON_NAMES = {"to_json", "from_json", "to_meta", "from_parts", "content"}


def loose(annotation: ast.expr | None) -> bool:
    """Whether an annotation contains `dict[str, Any]` or `Mapping[str, Any]`."""
    text = "" if annotation is None else ast.unparse(annotation)
    return "dict[str, Any]" in text or "Mapping[str, Any]" in text


def offenders() -> Iterator[str]:
    for path in sorted(SOURCE.rglob("*.py")):
        place = path.relative_to(SOURCE).as_posix()
        if place.startswith(JSON_EDGES):
            continue
        tree = ast.parse(path.read_text("utf-8"))
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        for function in functions:
            if function.name.startswith("_") or function.name in JSON_NAMES:
                continue
            arguments = [*function.args.args, *function.args.kwonlyargs]
            if loose(function.returns) or any(loose(argument.annotation) for argument in arguments):
                yield f"{place}: {function.name}"


def test_public_functions_exchange_typed_values() -> None:
    assert list(offenders()) == []
