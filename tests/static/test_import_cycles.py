"""No module of the package takes part in an import cycle.

An edge of the graph is an import that runs when a module is imported. Imports in functions and under
`if TYPE_CHECKING:` are not edges. Importing a.b.c also imports the packages a and a.b, so these are edges as well,
except from modules inside them: there Python has already started to import the package. An import of a name that such
a package defines is an edge, because the name may not exist yet.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import omnidistill

SOURCE = Path(omnidistill.__file__).parent


def sources() -> dict[str, str]:
    """Return the text of every module by its dotted name."""
    texts = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        texts[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text("utf-8")
    return texts


def import_graph(texts: Mapping[str, str]) -> dict[str, set[str]]:
    """Return which of the given modules every module imports."""
    graph = {}
    for module, text in texts.items():
        graph[module] = {
            name for imported in imports(ast.parse(text).body, module, texts) for name in imported if name in texts
        } - {module}
    return graph


def imports(body: Sequence[ast.AST], module: str, texts: Mapping[str, str]) -> Iterator[set[str]]:
    """Yield the modules that each import statement loads."""
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                pass
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=otherwise):
                yield from imports(otherwise, module, texts)
            case ast.Import(names=names):
                for alias in names:
                    yield {*packages(alias.name), alias.name} - set(packages(module))
            case ast.ImportFrom(module=str(source), names=names, level=0):
                yield {*packages(source), source} - set(packages(module))
                submodules = {f"{source}.{alias.name}" for alias in names} & set(texts)
                yield submodules if len(submodules) == len(names) else submodules | {source}
            case ast.ImportFrom():
                raise AssertionError(f"{module}: relative import in line {node.lineno}; this test reads absolute ones")
            case _:
                yield from imports(list(ast.iter_child_nodes(node)), module, texts)


def packages(module: str) -> list[str]:
    """Return the packages that contain a module, the outermost first."""
    parts = module.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


def cycles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected components of more than one module."""
    reachable = {module: reached(module, graph) for module in graph}
    components = {tuple(sorted(other for other in reachable[module] if module in reachable[other])) for module in graph}
    return sorted(list(component) for component in components if len(component) > 1)


def reached(start: str, graph: Mapping[str, set[str]]) -> set[str]:
    """Return the modules that importing `start` imports, directly or not."""
    found: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting.extend(graph[module])
    return found


def test_no_module_takes_part_in_an_import_cycle() -> None:
    graph = import_graph(sources())
    assert "omnidistill.cli.command_list" in graph["omnidistill.cli.main"]
    components = cycles(graph)
    edges = [
        f"{module} -> {other}"
        for component in components
        for module in component
        for other in sorted(graph[module] & set(component))
    ]
    assert components == [], "\n".join(edges)


def test_the_package_of_the_command_line_imports_nothing() -> None:
    """Every command imports modules of `omnidistill.cli`, so Python finishes importing that package first."""
    assert import_graph(sources())["omnidistill.cli"] == set()


def test_cycles_are_found() -> None:
    through_a_package = {"p": "", "p.a": "from p.a.list import make", "p.a.list": "from p.b import x"}
    through_a_package |= {"p.b": "", "p.b.x": "import p.a.parser", "p.a.parser": ""}
    assert cycles(import_graph(through_a_package)) == [["p.a", "p.a.list", "p.b.x"]]

    name_of_the_package = {"p": "from p.a import f", "p.a": "from p import g"}
    assert cycles(import_graph(name_of_the_package)) == [["p", "p.a"]]

    in_a_block = {
        "p": "",
        "p.a": "try:\n    import p.b\nexcept ImportError:\n    pass",
        "p.b": "class C:\n    import p.a",
    }
    assert cycles(import_graph(in_a_block)) == [["p.a", "p.b"]]


def test_other_imports_are_no_cycles() -> None:
    own_package = {"p": "from p.a import f", "p.a": "import p\nfrom p import b\nfrom p.b import g", "p.b": ""}
    assert cycles(import_graph(own_package)) == []

    later = {"p": "", "p.a": "from p.b import f", "p.b": "def f():\n    import p.a"}
    assert cycles(import_graph(later)) == []

    for_types = {"p": "", "p.a": "from p.b import f", "p.b": "if TYPE_CHECKING:\n    from p.a import T"}
    assert cycles(import_graph(for_types)) == []
    for_types["p.b"] += "\nelse:\n    from p.a import T"
    assert cycles(import_graph(for_types)) == [["p.a", "p.b"]]
