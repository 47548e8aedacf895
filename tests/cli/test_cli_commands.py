"""The structure of the command line: one module per command, and fast help."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

from omnidistill.cli import commands, make_parser
from omnidistill.cli.command_list import COMMANDS

FOLDER = Path(commands.__path__[0])
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
SHARED = {"omnidistill.cli.options", "omnidistill.cli.output", "omnidistill.cli.parser", "omnidistill.core.errors"}


def test_the_list_has_every_module_and_each_adds_the_command_of_its_name() -> None:
    listed = [module.__name__.rpartition(".")[2] for modules in COMMANDS.values() for module in modules]
    assert sorted(listed) == NAMES
    assert [name for group in make_parser().command_groups for name in group.parsers] == listed


@pytest.mark.parametrize("name", NAMES)
def test_a_module_has_two_public_functions_and_imports_shared_modules_only(name: str) -> None:
    body = ast.parse((FOLDER / f"{name}.py").read_text("utf-8")).body
    functions = [node.name for node in body if isinstance(node, ast.FunctionDef)]
    assert [function for function in functions if not function.startswith("_")] == ["add", "run"]
    imported = {node.module or "" for node in body if isinstance(node, ast.ImportFrom)}
    own = {"omnidistill.cli.completion_scripts"} if name == "completion" else set()
    assert {module for module in imported if module.startswith("omnidistill")} <= SHARED | own


def test_help_is_fast() -> None:
    """The limit is 200 ms; the test takes the best of five, because other processes may slow it down."""
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "omnidistill", "--help"], capture_output=True, check=True)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.2
