"""The structure of the command line: one module per command, and fast help."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from omnidistill.cli import commands
from omnidistill.cli.command_list import COMMANDS, make_parser

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
    own = {"completion": {"omnidistill.cli.completion_scripts"}, "compare": {"omnidistill.cli.crossed_options"}}
    assert {module for module in imported if module.startswith("omnidistill")} <= SHARED | own.get(name, set())


LOADED = """
import sys
before = set(sys.modules)
from omnidistill.cli.main import main
try:
    main(["--help"])
except SystemExit:
    pass
print(*sorted(set(sys.modules) - before), file=sys.stderr)
"""


def test_help_is_fast() -> None:
    """It takes less than 200 ms, nearly all for imports: those of other packages or of many modules would be felt. Not
    measured in seconds, which depend on the machine.
    """
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    loaded = done.stderr.split()
    assert {name.partition(".")[0] for name in loaded} <= {"omnidistill", *sys.stdlib_module_names}
    assert len(loaded) < 150
