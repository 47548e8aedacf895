"""No file of the package can turn data into code: every source is parsed and searched for what could."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import omnidistill

SOURCE = Path(omnidistill.__file__).parent
ALLOWED = {  # (file below the package, what), each with its reason
    (
        "encoding/encoders/published_weights.py",
        "torch.load",
    ),  # published checkpoints exist as nothing else; weights_only=True
    ("core/optional.py", "importlib.import_module"),  # optional packages, by names that stand in the code
    ("core/registry.py", "importlib.import_module"),  # modules of built-in components, which the code names
}

MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "cloudpickle",
    "dill",
    "joblib",
    "marshal",
    "shelve",
    "jsonpickle",
    "pickletools",
}
NAMES = {"eval", "exec", "compile", "__import__"}
CALLS = {
    "torch.load",
    "torch.hub.load",
    "torch.package.PackageImporter",
    "torch.jit.load",
    "torch.export.load",
    "torch.serialization.load",
    "yaml.load",
    "yaml.load_all",
    "yaml.full_load",
    "yaml.full_load_all",
    "yaml.unsafe_load",
    "yaml.unsafe_load_all",
    "importlib.import_module",
    "importlib.__import__",
    "importlib.util.spec_from_file_location",
    "importlib.machinery.SourceFileLoader",
    "runpy.run_path",
    "runpy.run_module",
    "code.InteractiveInterpreter",
    "os.system",
    "os.popen",
    "pandas.read_pickle",
    "pydoc.locate",
    "pkgutil.resolve_name",
}


def findings(source: str) -> Iterator[str]:
    """Whatever in `source` could run data as code, by its full name."""
    tree = ast.parse(source)
    names = _imported(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names if alias.name.split(".")[0] in MODULES)
            case ast.ImportFrom() if node.module and node.module.split(".")[0] in MODULES:
                yield node.module
            case ast.Name() | ast.Attribute():
                full = _full_name(node, names)
                if full.removeprefix("builtins.") in NAMES or full in CALLS:
                    yield full.removeprefix("builtins.")
            case ast.keyword(arg="allow_pickle", value=value) if not _is(value, False):
                yield "allow_pickle"
            case ast.keyword(arg="shell", value=value) if not _is(value, False):
                yield "shell=True"
            case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(value=str(name)), *_]) if (
                name in NAMES or any(call.endswith(f".{name}") for call in CALLS)
            ):
                yield f"getattr {name}"
            case _:
                pass
        if isinstance(node, ast.Call) and _full_name(node.func, names) == "numpy.load":
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            if not _is(given.get("allow_pickle"), False):
                yield "numpy.load"


def _imported(tree: ast.AST) -> dict[str, str]:
    """What each imported name stands for: np -> numpy, load -> torch.load."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def _full_name(node: ast.AST, names: dict[str, str]) -> str:
    match node:
        case ast.Name(id=name):
            return names.get(name, name)
        case ast.Attribute(value=value, attr=attribute):
            return f"{_full_name(value, names)}.{attribute}"
    return "?"


def _is(node: ast.AST | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def test_no_source_runs_data_as_code() -> None:
    sources = sorted(SOURCE.rglob("*.py"))
    assert len(sources) > 5
    found = {(str(path.relative_to(SOURCE)), what) for path in sources for what in findings(path.read_text("utf-8"))}
    assert found == ALLOWED


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import pickle", "pickle"),
        ("import pickle as harmless", "pickle"),
        ("from pickle import loads", "pickle"),
        ("def f():\n    import _pickle", "_pickle"),
        ("import marshal", "marshal"),
        ("import shelve", "shelve"),
        ("import joblib.numpy_pickle", "joblib.numpy_pickle"),
        ("import torch\ntorch.load('x')", "torch.load"),
        ("import torch\ntorch.load('x', weights_only=True)", "torch.load"),
        ("import torch as t\nread = t.load", "torch.load"),
        ("from torch import load\nload('x')", "torch.load"),
        ("from torch import load as read\nread('x')", "torch.load"),
        ("import torch\ntorch.jit.load('x')", "torch.jit.load"),
        ("import yaml\nyaml.load(x, Loader=yaml.SafeLoader)", "yaml.load"),
        ("from yaml import unsafe_load\nunsafe_load(x)", "yaml.unsafe_load"),
        ("eval('1')", "eval"),
        ("exec('1')", "exec"),
        ("run = exec", "exec"),
        ("compile('1', '', 'eval')", "compile"),
        ("__import__('os')", "__import__"),
        ("import builtins\nbuiltins.eval('1')", "eval"),
        ("from builtins import exec as run\nrun('1')", "exec"),
        ("import importlib\nimportlib.import_module(name)", "importlib.import_module"),
        ("from importlib import import_module as get\nget(name)", "importlib.import_module"),
        ("import runpy\nrunpy.run_path('x')", "runpy.run_path"),
        ("import numpy as np\nnp.load('x')", "numpy.load"),
        ("import numpy\nnumpy.load('x', allow_pickle=True)", "numpy.load"),
        ("from numpy import load\nload('x', allow_pickle=flag)", "numpy.load"),
        ("import numpy.lib.format as f\nf.read_array(x, allow_pickle=True)", "allow_pickle"),
        ("import subprocess\nsubprocess.run('ls', shell=True)", "shell=True"),
        ("import subprocess\nsubprocess.Popen('ls', shell=flag)", "shell=True"),
        ("import os\nos.system('ls')", "os.system"),
        ("import torch\ngetattr(torch, 'load')('x')", "getattr load"),
    ],
)
def test_the_search_finds(source: str, what: str) -> None:
    assert what in set(findings(source))


@pytest.mark.parametrize(
    "source",
    [
        "import re\nre.compile('x')",
        "model.eval()",
        "import numpy as np\nnp.load('x', allow_pickle=False)",
        "import subprocess\nsubprocess.run(['ls'], shell=False)",
        "import json\njson.load(file)",
        "from safetensors.torch import load_file\nload_file('x')",
        "import yaml\nyaml.safe_load(x)",
        "'eval(x)'  # exec(x)",
    ],
)
def test_the_search_leaves_alone(source: str) -> None:
    assert list(findings(source)) == []
