"""How the package is laid out: names of modules, docstrings of packages, and what help imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

import omnidistill
from omnidistill.cli.command_list import make_parser

SOURCE = Path(omnidistill.__file__).parent
COMMANDS = "cli/commands"


def modules() -> dict[str, list[str]]:
    """Folders of all modules and packages by their name."""
    found = defaultdict(list)
    for path in SOURCE.rglob("*.py"):
        place = path.parent if path.name == "__init__.py" else path
        if place != SOURCE and not place.stem.startswith("_"):
            found[place.stem].append(place.parent.relative_to(SOURCE).as_posix())
    return found


def test_no_two_modules_have_one_name() -> None:
    """Except a command and the module (or package) that does its work."""
    shared = {}
    for name, folders in modules().items():
        others = [folder for folder in folders if folder != COMMANDS]
        if len(others) > 1:
            shared[name] = others
    assert shared == {}


def packages() -> list[Path]:
    return sorted({path.parent for path in SOURCE.rglob("*.py")})


@pytest.mark.parametrize("folder", packages(), ids=lambda path: path.relative_to(SOURCE.parent).as_posix())
def test_every_package_says_what_is_in_it(folder: Path) -> None:
    assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8")))


def test_every_module_has_a_docstring() -> None:
    texts = {path: path.read_text("utf-8") for path in SOURCE.rglob("*.py")}
    assert [path for path, text in texts.items() if not ast.get_docstring(ast.parse(text))] == []


DRIVER = """
import sys
from omnidistill.cli.main import main
for command in [[], *([name] for name in sys.argv[1:])]:
    try:
        main([*command, "--help"])
    except SystemExit as stop:
        assert stop.code == 0
heavy = ("torch", "pydantic", "numpy", "rich", "jinja2", "safetensors")
print([name for name in heavy if name in sys.modules], file=sys.stderr)
"""


def test_help_imports_no_heavy_package() -> None:
    """Of the program and of every command: help is there at once."""
    names = [name for group in make_parser().command_groups for name in group.parsers]
    done = subprocess.run([sys.executable, "-c", DRIVER, *names], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "[]\n")
    assert done.stdout.count("usage: omnidistill") == 1 + len(names)
