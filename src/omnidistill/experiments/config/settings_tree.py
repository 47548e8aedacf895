"""Functions for settings trees, that is, plain dicts as read from TOML, and for the models that validate them.

In a tree, a component is written either as a table with the key `kind`, or as a string that names its kind.
`with_kinds` converts every component to a table. This must happen before two trees are merged. If the trees select
different kinds of a component, merging drops the settings of the old kind, because the new kind has other settings.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python

from omnidistill.core.errors import nearest
from omnidistill.core.registry import ComponentRegistry
from omnidistill.core.settings import Component, Settings, field_docs

Tree = dict[str, Any]
Model = type[BaseModel]


def registry_of(model: Model, name: str) -> ComponentRegistry[Any] | None:
    """Return the component registry of a field in a Pydantic model, or None if the field holds no component."""
    field = model.model_fields.get(name)
    registries = [each for each in field.metadata if isinstance(each, ComponentRegistry)] if field else []
    return registries[0] if registries else None


def components_of(model: Model, name: str) -> dict[str, type[Component]]:
    """Return the component classes that a field of a Pydantic model accepts, by kind; empty for other fields."""
    registry, allowed = registry_of(model, name), model.model_fields[name].annotation
    if registry is None or not isinstance(allowed, type):
        return {}
    return {kind: registry.get(kind) for kind in registry.names() if issubclass(registry.get(kind), allowed)}


def submodel(model: Model, name: str, tree: Any) -> Model | None:
    """Return the Pydantic model that validates a section of a settings tree, or None if the field is a single value.

    The `kind` in the section determines the model. If it is missing, the field's default value determines the model.
    """
    field = model.model_fields.get(name)
    if field is None:
        return None
    registry = registry_of(model, name)
    kind = tree if isinstance(tree, str) else tree.get("kind") if isinstance(tree, Mapping) else None
    if registry is not None and isinstance(kind, str) and kind in registry:
        component: Model = registry.get(kind)
        return component
    default = field.get_default(call_default_factory=True) if field.default_factory else field.default
    return type(default) if isinstance(default, BaseModel) else None


def with_kinds(tree: Mapping[str, Any], model: Model) -> Tree:
    """Return a copy of the settings tree in which every component is a table with the key `kind`.

    A component is a part with several implementations, such as the storage of rows; `kind` names the implementation. In
    the tree, a component may also be given by this name alone: `storage = "coded"` becomes `storage.kind = "coded"`.
    """
    filled = dict(tree)
    for name in model.model_fields:
        section, registry = filled.get(name), registry_of(model, name)
        if registry is not None and isinstance(section, str):
            section = {"kind": section}
        if not isinstance(section, Mapping):
            continue
        below = submodel(model, name, section)
        if registry is not None and below is not None and "kind" not in section and issubclass(below, Component):
            section = {"kind": below.kind, **section}
        filled[name] = with_kinds(section, below) if below is not None else dict(section)
    return filled


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Tree:
    """Return the settings tree `base` with the changes applied.

    If a change selects another kind of component, the settings of the old kind are dropped. `base` must be a tree that
    `with_kinds` returned.
    """
    kind = changes.get("kind")
    result = {} if kind is not None and "kind" in base and kind != base["kind"] else dict(base)
    for name, value in changes.items():
        below = result.get(name)
        if isinstance(below, dict) and "kind" in below and isinstance(value, str):
            value = {"kind": value}
        result[name] = merged(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return result


def describe_fields(settings: Model | BaseModel, prefix: str = "") -> list[tuple[str, str, str]]:
    """Return (dotted key, value, documentation) for every setting.

    A component, such as the storage of rows, has several implementations, called kinds. All of its kinds are listed.

    Args:
        settings: a settings class, to list default values; or an instance, to list its values. For an instance, the
            selected kind of each component is marked and listed first. The other kinds have default values.
        prefix: text before every key.
    """
    model, has_values = (settings, False) if isinstance(settings, type) else (type(settings), True)
    lines: list[tuple[str, str, str]] = []
    for name, field in model.model_fields.items():
        value = getattr(settings, name) if has_values else field.get_default(call_default_factory=True)
        if components := components_of(model, name):
            selected = value.kind if has_values and isinstance(value, Component) else None
            for kind in sorted(components, key=lambda each: each != selected):
                mark = "[selected] " if kind == selected else ""
                lines.append((f"{prefix}{name} (kind = {kind})", "", mark + _first_paragraph(components[kind])))
                below = describe_fields(value if kind == selected else components[kind], f"{prefix}{name}.")
                lines += [line for line in below if line not in lines]
        elif isinstance(value, BaseModel):
            lines.append((f"{prefix}{name}", "", _first_paragraph(type(value))))
            lines += describe_fields(value if has_values else type(value), f"{prefix}{name}.")
        else:
            shown = "required" if field.is_required() and not has_values else json.dumps(to_jsonable_python(value))
            lines.append((f"{prefix}{name}", shown, " ".join(field_docs(model).get(name, "").split())))
    return lines


def sections_of(settings: Settings, key: str = "") -> Iterator[tuple[str, Settings]]:
    """Yield (dotted key, settings) for the given settings and, recursively, for every field that contains settings."""
    yield key, settings
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Settings):
            yield from sections_of(value, f"{key}.{name}".lstrip("."))


def explain(error: ValidationError, model: Model, tree: Mapping[str, Any]) -> str:
    """Return a message that says which setting of a tree is wrong, why, and what to write instead."""
    first, key = error.errors()[0], key_of(error)
    if first["type"] == "json_invalid":
        return "a text contains half of a surrogate pair, which is not a character"
    if first["type"] == "extra_forbidden":
        *location, name = first["loc"]
        known = sorted(_model_at(location, model, tree).model_fields)
        hint = nearest(str(name), known, key.removesuffix(str(name))) or f"; known here: {', '.join(known)}"
        return f"unknown setting '{key}'{hint}"
    problems = [each for each in error.errors() if _key(each) == key]  # one per type that the setting may have
    for each in problems:
        if each["type"] == "value_error":
            message = each["msg"].removeprefix("Value error, ")
            return f"{key}: {message}" if key else message
    relevant = [each for each in problems if not each["type"].endswith("_type")] or problems
    messages = dict.fromkeys(each["msg"].replace("Input should", "must") for each in relevant)
    message = " or ".join(messages).replace(" or must be ", " or ")
    return f"{key or 'run'} = {json.dumps(first.get('input'), default=str)}: {message}"


def key_of(error: ValidationError) -> str:
    """Return the dotted key of the invalid setting; empty if a combination of settings is invalid."""
    return _key(error.errors()[0])


def _key(problem: Any) -> str:
    """Return the dotted key of a setting, without the type names that Pydantic inserts for union types."""
    return ".".join(str(part) for part in problem["loc"] if problem["type"] == "extra_forbidden" or not _is_type(part))


def _is_type(part: int | str) -> bool:
    return isinstance(part, str) and (part in ("int", "float", "str", "bool") or not part.replace("_", "").isalnum())


def keys(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys of all values in a settings tree."""
    for name, value in tree.items():
        yield from keys(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [prefix + name]


def _model_at(location: Sequence[int | str], model: Model, tree: Any) -> Model:
    """Return the Pydantic model that validates the section at a location in a settings tree."""
    parts = iter(location)
    for part in parts:
        section = tree.get(part) if isinstance(tree, Mapping) else None
        if isinstance(section, list) and isinstance(number := next(parts, None), int):
            section = section[number]
            below = _item_model(model, str(part), section)
        else:
            below = submodel(model, str(part), section)
        if below is None:
            break
        model, tree = below, section
    return model


def _item_model(model: Model, name: str, item: Any) -> Model | None:
    """Return the Pydantic model that validates one item of the list in field `name`; None if there is no such model."""
    for kind in get_args(model.model_fields[name].annotation):
        for registry in getattr(kind, "__metadata__", ()):
            if isinstance(registry, ComponentRegistry) and item.get("kind") in registry:
                component: Model = registry.get(item["kind"])
                return component
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _first_paragraph(model: Model) -> str:
    return " ".join((model.__doc__ or "").strip().partition("\n\n")[0].split())
