"""One entry of the Python reference: signature with types, text, tables of parameters and errors, example, source."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from omnidistill.core.registry import Registry
from omnidistill.core.settings import field_docs

SECTIONS = ("Args", "Attributes", "Returns", "Raises")
WIDTH = 90
"""Columns of a signature; a longer one takes one line per argument."""
LONGEST = 50
"""Characters of a default value; a longer one is shown as `...`."""


def entry(name: str, thing: Any, example: str) -> str:
    """Return the entry of a public name in Markdown.

    Args:
        name: the name, which becomes a heading of level 2.
        thing: the object: a function, a class, a registry, or a module with a registry of the same name.
        example: Markdown that shows how to use it.
    """
    if inspect.ismodule(thing):  # `omnidistill.methods`, which has the functions of its registry
        thing = getattr(thing, name)
    shown = [f"**Example**\n\n{example}"]
    if isinstance(thing, Registry):
        entries = "\n".join(f"* `{each}`: {text}" for each, text in thing.list().items())
        group = f"; packages add theirs in the entry-point group `{thing.group}`" if thing.group else ""
        return "\n\n".join([f"## {name}", f"Registry of every {thing.role} by name{group}.", entries, *shown])
    keyword = "class" if inspect.isclass(thing) else "def"
    parts = [f"## {name}", f"```python\n{keyword} {name}{signature(thing)}\n```", *_body(thing), *shown, source(thing)]
    return "\n\n".join([*parts, *(_members(thing) if inspect.isclass(thing) else ())])


def summary(thing: Any) -> str:
    """Return the first sentence of a docstring."""
    if isinstance(thing, Registry):
        return f"Registry of every {thing.role} by name."
    paragraph = " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())
    return re.split(r"(?<=[.:]) (?=[A-Z])", paragraph)[0]


def signature(thing: Any) -> str:
    """Return the arguments with types and defaults, and the type of the result."""
    arguments = _arguments(thing)
    if arguments is None:
        return ""
    returned = "" if inspect.isclass(thing) else _type(inspect.signature(thing).return_annotation)
    arrow = f" -> {returned}" if returned else ""
    texts, keyword_only = [], False
    for argument in arguments:
        if argument.kind is argument.KEYWORD_ONLY and not keyword_only:
            texts, keyword_only = [*texts, "*"], True
        keyword_only |= argument.kind is argument.VAR_POSITIONAL
        stars = {argument.VAR_POSITIONAL: "*", argument.VAR_KEYWORD: "**"}.get(argument.kind, "")
        typed = f": {kind}" if (kind := _type_of(thing, argument)) else ""
        equals = " = " if typed else "="
        texts.append(f"{stars}{argument.name}{typed}{equals + value if (value := _default(argument)) else ''}")
    line = f"({', '.join(texts)}){arrow}"
    return line if len(line) <= WIDTH else "\n".join(["(", *(f"    {text}," for text in texts), f"){arrow}"])


def source(thing: Any) -> str:
    """Return a link to the page with the source code of a function or class."""
    _, line = inspect.getsourcelines(thing)
    return f"[Source: {thing.__module__}, line {line}](../source/{thing.__module__}.md#line-{line})"


def parse(doc: str) -> tuple[str, dict[str, list[tuple[str, str]]]]:
    """Return the text of a docstring and its sections: {title: (names, text) of each item}."""
    text: list[str] = []
    sections: dict[str, list[tuple[str, str]]] = {}
    title = ""
    for line in doc.splitlines():
        if line.endswith(":") and line[:-1] in SECTIONS:
            title = line[:-1]
            sections[title] = []
        elif not title or (line and not line.startswith(" ")):
            title = ""
            text.append(line)
        elif title != "Returns" and (match := re.fullmatch(r"    (\*{0,2}\w[\w, *]*): (.*)", line)):
            sections[title].append((match[1], match[2]))
        elif line.strip():
            names, words = sections[title].pop() if sections[title] else ("", "")
            sections[title].append((names, f"{words} {line.strip()}".strip()))
    return "\n".join(text).strip(), sections


def _body(thing: Any) -> Iterator[str]:
    """Yield the text of a docstring and its tables."""
    text, sections = parse(inspect.getdoc(thing) or "")
    yield text
    described = [*sections.get("Args", ()), *sections.get("Attributes", ()), *_fields(thing)]
    if described:
        arguments = {argument.name: argument for argument in _arguments(thing) or ()}
        rows = []
        for names, words in described:
            first = arguments.get(names.split(",")[0].strip("* "))
            kind = _type_of(thing, first) if first else ""
            shown = [_code(names), _code(kind), _code(_default(first) if first else ""), _cell(words)]
            rows.append(f"| {' | '.join(shown)} |")
        title = "Attributes" if inspect.isclass(thing) else "Parameters"
        yield "\n".join([f"**{title}**", "", "| name | type | default | description |", "|---|---|---|---|", *rows])
    for _, words in sections.get("Returns", ()):
        yield f"**Returns:** {words}"
    if raised := sections.get("Raises"):
        yield "\n".join(
            ["**Raises**", "", *(f"* `{name}`: {words}" if name else f"* {words}" for name, words in raised)]
        )


def _members(thing: type) -> Iterator[str]:
    """Yield the public methods and properties that a class defines itself."""
    for member, found in vars(thing).items():
        method = getattr(thing, member)
        if member.startswith("_") or not inspect.getdoc(found):
            continue
        if isinstance(found, property | cached_property):
            yield f"### {thing.__name__}.{member}\n\n" + "\n\n".join(_body(found))
        elif inspect.isroutine(method):
            block = f"```python\ndef {member}{signature(method)}\n```"
            yield "\n\n".join([f"### {thing.__name__}.{member}", block, *_body(method)])


def _arguments(thing: Any) -> list[inspect.Parameter] | None:
    try:
        parameters = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):
        return None
    return [argument for argument in parameters if argument.name not in ("self", "cls")]


def _fields(thing: Any) -> list[tuple[str, str]]:
    """Return the documented fields of a class of settings."""
    docs = field_docs(thing) if inspect.isclass(thing) else {}
    return [(name, docs[name]) for name in getattr(thing, "model_fields", {}) if docs.get(name)]


def _type_of(thing: Any, argument: inspect.Parameter) -> str:
    """Return the type of an argument as the code has it; for settings, from the class that declares the field."""
    if isinstance(argument.annotation, str):
        return _type(argument.annotation)
    for each in thing.__mro__ if inspect.isclass(thing) else ():
        if argument.name in vars(each).get("__annotations__", {}):
            return _type(vars(each)["__annotations__"][argument.name])
    return ""


def _type(annotation: Any) -> str:
    """Return a type without the checks of its values; nothing for a type that is not text in the code."""
    if not isinstance(annotation, str):
        return ""

    class Plain(ast.NodeTransformer):
        def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
            self.generic_visit(node)
            annotated = isinstance(node.value, ast.Name) and node.value.id == "Annotated"
            return node.slice.elts[0] if annotated and isinstance(node.slice, ast.Tuple) else node

    return ast.unparse(Plain().visit(ast.parse(annotation.strip("'\""), mode="eval")))


def _default(argument: inspect.Parameter) -> str:
    if argument.default is argument.empty:
        return ""
    text = repr(argument.default)
    return text if len(text) <= LONGEST and not re.search(r"<factory>|<[^>]* object at ", text) else "..."


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
