"""Print a random sample of the texts in the package: `python benchmarks/sample_texts.py [--seed S] [N]`.

The sample contains equal numbers of docstrings, InputError messages and help texts of commands. It is the acceptance
test for the language: a reader who is new to the project may need a second reading for at most two of 60 texts.
"""

from __future__ import annotations

import argparse
import ast
import random
from collections.abc import Iterator
from functools import cache
from itertools import zip_longest
from pathlib import Path

from omnidistill.cli.command_list import make_parser

SOURCE = Path(__file__).parent.parent / "src"
Text = tuple[str, str, str]  # kind, place, content


def docstrings() -> Iterator[Text]:
    """Yield the docstrings of all modules, classes and functions, each below its signature as in the reference."""
    for path, tree in _modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
                yield "docstring", f"{path}:{getattr(node, 'lineno', 1)}", f"{_signature(node)}\n{text}".strip()


def messages() -> Iterator[Text]:
    """Yield the messages of all `raise InputError(...)` statements; a placeholder is shown as its expression."""
    for path, tree in _modules():
        for node in ast.walk(tree):
            is_error = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "InputError"
            if is_error and (text := _literal(node.args[0])):
                yield "message", f"{path}:{node.lineno}", text


def help_lines() -> Iterator[Text]:
    """Yield the help of every command, argument and option, with the name of its value."""
    for action in make_parser()._actions:
        for name, parser in (action.choices or {}).items() if isinstance(action, argparse._SubParsersAction) else ():
            yield "help", f"omnidistill {name}", parser.description or ""
            for each in (action for action in parser._actions if action.dest != "help"):
                value = "" if each.nargs == 0 else str(each.metavar or each.dest)
                usage = " ".join(filter(None, [", ".join(each.option_strings), value]))
                yield "help", f"omnidistill {name} {usage}", (each.help or "").replace("%%", "%")


def sample(number: int, seed: int) -> list[Text]:
    """Return `number` texts, equally many of each kind, sorted by kind and place."""
    draw = random.Random(seed)
    shuffled = [draw.sample(texts, len(texts)) for texts in _texts()]
    alternating = [text for triple in zip_longest(*shuffled) for text in triple if text is not None]
    return sorted(alternating[:number])


@cache
def _texts() -> tuple[list[Text], ...]:
    return list(docstrings()), list(messages()), list(help_lines())


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield str(path.relative_to(SOURCE.parent)), ast.parse(path.read_text("utf-8"))


def _signature(node: ast.AST) -> str:
    """Return the line that declares a class or function, or an empty text for a module."""
    if isinstance(node, ast.ClassDef):
        return f"class {node.name}"
    if isinstance(node, ast.FunctionDef):
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        return f"def {node.name}({ast.unparse(node.args)}){returns}"
    return ""


def _literal(node: ast.expr) -> str:
    """Return the text of a string literal, or an empty text for any other expression."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_literal(p) if isinstance(p, ast.Constant) else f"{{{_expression(p)}}}" for p in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _expression(node: ast.expr) -> str:
    return ast.unparse(node.value if isinstance(node, ast.FormattedValue) else node)


def main(arguments: list[str] | None = None) -> None:
    """Print the texts of the sample with their numbers, kinds and places."""
    parser = argparse.ArgumentParser(description="Print a random sample of docstrings, error messages and help.")
    parser.add_argument("number", nargs="?", type=int, default=60, metavar="N", help="number of texts (default: 60)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed for drawing the sample (default: 0)")
    options = parser.parse_args(arguments)
    for number, (kind, place, text) in enumerate(sample(options.number, options.seed), start=1):
        print(f"{number:2}. [{kind}] {place}\n    " + text.replace("\n", "\n    ") + "\n")


if __name__ == "__main__":
    main()
