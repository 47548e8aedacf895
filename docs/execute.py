"""Runs pages of the documentation and writes into them what their code prints.

    python docs/execute.py [PAGE ...]       # in place; default: every page that shows outputs

A page that shows outputs is run from top to bottom in an empty folder: its Python blocks in one namespace, the
`omnidistill` lines of its indented blocks in this process, and TOML blocks whose first line names a file are written to
it. A block ```output shows what the code before it, back to the output block before, prints on standard output.
tests/docs/test_outputs.py runs the pages with small settings and compares everything but the numbers.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import sys
import tempfile
from contextlib import chdir, redirect_stdout
from pathlib import Path
from types import ModuleType

DOCS = Path(__file__).parent
BLOCK = re.compile(
    r"^```(?P<kind>python|toml|output)\n(?P<text>.*?)^```$|(?P<lines>(?:^    [^\n]*\n)+)", re.MULTILINE | re.DOTALL
)
COLUMNS = "100"
"""Width of the terminal in which commands print."""


def pages() -> list[Path]:
    """Return the pages that show outputs."""
    return [path for path in sorted(DOCS.rglob("*.md")) if "\n```output\n" in path.read_text("utf-8")]


def outputs(text: str, name: str) -> list[str]:
    """Run a page in the working directory.

    Args:
        text: the Markdown of the page.
        name: what errors call it.

    Returns:
        What was printed before each output block, in order.
    """
    page, printed, results = ModuleType("page"), io.StringIO(), []
    sys.modules["page"] = page  # classes that a page defines are looked up in their module
    for number, block in enumerate(BLOCK.finditer(text), 1):
        if block["kind"] == "output":
            results.append(printed.getvalue().replace(f"{Path.cwd()}{os.sep}", ""))
            printed = io.StringIO()
        elif block["kind"] == "toml":
            if file := re.match(r"# ([\w-]+\.toml):", block["text"]):
                Path(file[1]).write_text(block["text"], "utf-8")
        elif block["kind"] == "python":
            with redirect_stdout(printed):
                exec(compile(block["text"], f"{name}, block {number}", "exec"), vars(page))
        else:
            for words in commands(block["lines"]):
                with redirect_stdout(printed):
                    _command(words, name)
    return results


def commands(text: str) -> list[list[str]]:
    """Return the arguments of every `omnidistill` line of indented blocks; a backslash at the end continues a line."""
    joined = re.sub(r"\\\n +", "", text)
    lines = re.findall(r"^    (omnidistill .*)$", joined, re.MULTILINE)
    return [shlex.split(part, comments=True)[1:] for line in lines for part in line.split("&&")]


def shown(text: str) -> list[str]:
    """Return the output blocks of a page."""
    return [block["text"] for block in BLOCK.finditer(text) if block["kind"] == "output"]


def rewritten(text: str, results: list[str]) -> str:
    """Return the page with new outputs; trailing spaces of their lines are removed."""
    rest = iter(results)

    def new(block: re.Match[str]) -> str:
        if block["kind"] != "output":
            return block[0]
        return "\n".join(["```output", *(line.rstrip() for line in next(rest).strip("\n").splitlines()), "```"])

    return BLOCK.sub(new, text)


def _command(words: list[str], name: str) -> None:
    from omnidistill.cli.main import main

    code = main(words)
    if code:
        raise RuntimeError(f"{name}: omnidistill {shlex.join(words)}: exit code {code}")


def execute(path: Path) -> None:
    """Run a page and write its outputs into it."""
    text = path.read_text("utf-8")
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        results = outputs(text, path.name)
    path.write_text(rewritten(text, results), "utf-8")


if __name__ == "__main__":
    os.environ["COLUMNS"] = COLUMNS
    for place in [Path(name).resolve() for name in sys.argv[1:]] or pages():
        execute(place)
