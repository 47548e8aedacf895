"""From TOML, presets and `key=value` overrides to a validated run; an unknown or idle setting is an error that says
what to type.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from omnidistill.config.files import headlines, read_file, read_toml, shipped
from omnidistill.config.schema import RunConfig
from omnidistill.core.errors import InputError, nearest

DEFAULT = "recommended"
"""The preset of a run that names none."""


def preset_names() -> list[str]:
    """Names of the presets that ship with the package; those of a folder are "folder/name"."""
    return list(shipped("presets"))


def describe_presets() -> dict[str, str]:
    """One line on every preset: the first line of its comment."""
    return headlines("presets")


def load_config(
    path: Path | None = None, preset: str | None = None, overrides: Sequence[str] = (), **fixed: Any
) -> RunConfig:
    """Read a TOML file or a preset (default: "recommended"), apply `key=value` overrides (TOML literals) and fixed
    values by dotted key.

    A file or preset that `extends` a preset holds only what differs from it; naming another `kind` of a choice drops
    the settings of the choice before.

    Raises:
        InputError: unreadable TOML, unknown preset, unknown or impossible setting; names the key and the nearest
            known one.
    """
    if path is not None and preset is not None:
        raise InputError("give --preset or --config, not both")
    preset = preset or DEFAULT
    where = f"preset {preset}" if path is None else str(path)
    tree = _preset(preset) if path is None else _extended(read_file(path), where)
    for override in sorted(spelt_out(overrides), key=_kinds_first):
        key, found, literal = override.partition("=")
        if not found:
            raise InputError(f"--set {override}: expected key=value, for example --set distill.iterations=500")
        _assign(tree, key, _literal(literal), f"--set {override}")
    for key, value in fixed.items():
        if value is not None:
            _assign(tree, key.replace("__", "."), value, where)
    given = [each.partition("=")[0].strip() for each in spelt_out(overrides)]
    return parse_config(tree, where, [*given, *(key.replace("__", ".") for key in fixed)])


def parse_config(tree: dict[str, Any], where: str, given: Sequence[str] = ()) -> RunConfig:
    """Validate a tree of plain values; `where` names its source in errors, but for the keys that were given beside."""
    try:
        return RunConfig.model_validate_json(json.dumps(_with_kinds(tree, RunConfig), default=_no_setting))
    except ValidationError as error:
        source = "" if _key_of(error, RunConfig) in given else f"{where}: "
        raise InputError(f"{source}{explain(error)}") from None
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None


def describe_fields(model: type[BaseModel] = RunConfig, prefix: str = "") -> list[tuple[str, str, str]]:
    """(dotted key, default, documentation) of every setting; alternatives are listed by kind."""
    lines: list[tuple[str, str, str]] = []
    for name, field in model.model_fields.items():
        default = field.get_default()
        if isinstance(default, BaseModel):
            alternatives = _alternatives(field.annotation) or [type(default)]
            for alternative in alternatives:
                label = f"{prefix}{name}"
                if len(alternatives) > 1:
                    label += f" (kind = {alternative.model_fields['kind'].default})"
                lines.append((label, "", (alternative.__doc__ or "").strip()))
                lines += [line for line in describe_fields(alternative, f"{prefix}{name}.") if line not in lines]
        elif name != "kind":
            lines.append((f"{prefix}{name}", json.dumps(default), field.description or ""))
    return lines


def _alternatives(annotation: Any) -> list[type[BaseModel]]:
    parts = getattr(annotation, "__args__", ())
    return [part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)]


def _preset(name: str) -> dict[str, Any]:
    presets = shipped("presets")
    if name not in presets:
        raise InputError(f"unknown preset '{name}'{nearest(name, presets)}; 'omnidistill presets' lists them")
    return _extended(read_toml(presets[name], f"preset {name}"), f"preset {name}")


def _extended(tree: dict[str, Any], where: str) -> dict[str, Any]:
    """The preset that the tree extends, with what the tree says instead."""
    base = tree.pop("extends", None)
    if base is None:
        return tree
    if not isinstance(base, str):
        raise InputError(f"{where}: extends = {base!r} must be the name of a preset")
    return _merged(_preset(base), tree, [])


def _merged(base: dict[str, Any], tree: dict[str, Any], section: list[str]) -> dict[str, Any]:
    changed = "kind" in tree and tree["kind"] != base.get("kind", _default_kind(base, section))
    merged = {} if changed else dict(base)
    for name, value in tree.items():
        below = merged.get(name)
        if isinstance(value, dict) and isinstance(below, dict):
            merged[name] = _merged(below, value, [*section, name])
        else:
            merged[name] = value
    return merged


def spelt_out(overrides: Iterable[str]) -> tuple[str, ...]:
    """Each override by the dotted key of one setting: `a={b=1, c=2}` is `a.b=1` and `a.c=2`."""
    return tuple(setting for override in overrides for setting in _spelt_out(override))


def _spelt_out(override: str) -> Iterator[str]:
    key, found, literal = (part.strip() for part in override.partition("="))
    value = _literal(literal)
    if isinstance(value, dict):
        yield from (f"{each}={json.dumps(leaf, ensure_ascii=False, default=str)}" for each, leaf in _leaves(key, value))
    else:
        yield f"{key}{found}{literal}"


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict) or not value:
        yield key, value
        return
    for name, inner in value.items():
        yield from _leaves(f"{key}.{name}", inner)


def _literal(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        return text


def _kinds_first(override: str) -> tuple[bool, int]:
    """Choices before what refines them, outer choices before inner ones."""
    key = override.partition("=")[0].strip()
    return not key.endswith(".kind"), key.count(".") if key.endswith(".kind") else 0


def _assign(tree: dict[str, Any], key: str, value: Any, where: str) -> None:
    *parents, leaf = key.split(".")
    root = tree
    for parent in parents:
        tree = tree.setdefault(parent, {})
        if not isinstance(tree, dict):
            raise InputError(f"{where}: '{parent}' is a value, not a section")
    if leaf == "kind" and tree.get("kind", _default_kind(root, parents)) != value:
        tree.clear()  # another choice has other settings
    tree[leaf] = value


def _default_kind(tree: Mapping[str, Any], section: Sequence[str]) -> str | None:
    """The kind that a section has where it names none, given the kinds that the sections around it name."""
    place: Any = RunConfig()
    for part in section:
        field = type(place).model_fields.get(part) if isinstance(place, BaseModel) else None
        if field is None:
            return None
        place = field.get_default()
        tree = tree.get(part, {}) if isinstance(tree, Mapping) else {}
        if part is not section[-1] and isinstance(tree, Mapping) and isinstance(place, BaseModel):
            place = _chosen(field.annotation, tree.get("kind"), place)
    return getattr(place, "kind", None)


def _chosen(annotation: Any, kind: Any, default: BaseModel) -> BaseModel:
    """A fresh alternative of that kind; the default where it is none."""
    for alternative in _alternatives(annotation):
        if alternative.model_fields["kind"].default == kind:
            return alternative()
    return default


def _no_setting(value: Any) -> Any:
    raise ValueError(f"{value} is a {type(value).__name__}; settings are numbers, text, true or false, lists, tables")


def _with_kinds(tree: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """The tree with the default `kind` wherever a choice was refined but not named."""
    filled = dict(tree)
    for name, field in model.model_fields.items():
        section, default = filled.get(name), field.get_default()
        if isinstance(section, dict) and isinstance(default, BaseModel):
            if _alternatives(field.annotation):
                section = {"kind": getattr(default, "kind", None), **section}
                default = _chosen(field.annotation, section["kind"], default)
            filled[name] = _with_kinds(section, type(default))
    return filled


def explain(error: ValidationError, root: type[BaseModel] = RunConfig) -> str:
    """What is wrong with a setting of a tree, and what to type instead."""
    first, key = error.errors()[0], _key_of(error, root) or "run"
    location, found = [str(part) for part in first["loc"]], first.get("input")
    if first["type"] == "extra_forbidden":
        known = _siblings(location[:-1], root)
        hint = nearest(location[-1], known) or f"; known here: {', '.join(known)}"
        return f"unknown setting '{key}'{hint}"
    if first["type"] == "union_tag_invalid":
        known = [each.strip(" '") for each in first["ctx"]["expected_tags"].split(",")]
        return f"{key} = {json.dumps(first['ctx']['tag'])}: known are {', '.join(known)}"
    message = first["msg"].removeprefix("Value error, ").replace("Input should", "must")
    return message if first["type"] == "value_error" else f"{key} = {json.dumps(found, default=str)}: {message}"


def _key_of(error: ValidationError, root: type[BaseModel]) -> str:
    """The dotted key of the setting that is wrong; empty where several are, together."""
    first = error.errors()[0]
    kind = ["kind"] if first["type"] == "union_tag_invalid" else []
    return ".".join([*_without_kinds([str(part) for part in first["loc"]], root), *kind])


def _without_kinds(location: Sequence[str], root: type[BaseModel]) -> list[str]:
    """Pydantic puts the tag of a choice into the location; a user never types it."""
    return [part for i, part in enumerate(location) if i == 0 or part not in _kinds(location[:i], root)]


def _kinds(location: Sequence[str], root: type[BaseModel]) -> set[str]:
    models = _models_at(location, root)
    return {model.model_fields["kind"].default for model in models if "kind" in model.model_fields}


def _siblings(location: Sequence[str], root: type[BaseModel]) -> list[str]:
    return sorted({name for model in _models_at(location, root) for name in model.model_fields})


def _models_at(location: Sequence[str], root: type[BaseModel]) -> list[type[BaseModel]]:
    models: list[type[BaseModel]] = [root]
    for part in location:
        if part.isdigit():  # of a list
            continue
        tagged = [m for m in models if "kind" in m.model_fields and m.model_fields["kind"].default == part]
        if tagged:
            models = tagged
            continue
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        models = []
        for field in fields:
            default = field.get_default()
            models += _alternatives(field.annotation) or ([type(default)] if isinstance(default, BaseModel) else [])
    return models
