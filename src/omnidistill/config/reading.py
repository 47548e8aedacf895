"""From TOML, presets and `key=value` overrides to a validated run; an unknown or idle setting is an error that says
what to type.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from omnidistill.config.schema import RunConfig
from omnidistill.errors import InputError, nearest


def preset_names() -> list[str]:
    """Names of the presets that ship with the package."""
    folder = resources.files("omnidistill") / "presets"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_config(
    path: Path | None = None, preset: str | None = None, overrides: Sequence[str] = (), **fixed: Any
) -> RunConfig:
    """Read a TOML file or a preset (default: "hopa"), apply `key=value` overrides (TOML literals) and fixed values
    by dotted key.

    Raises:
        InputError: unreadable TOML, unknown preset, unknown or impossible setting; names the key and the nearest
            known one.
    """
    if path is not None and preset is not None:
        raise InputError("give --preset or --config, not both")
    if path is not None:
        tree, where = _read_toml(path.read_bytes() if path.is_file() else None, str(path)), str(path)
    else:
        preset = preset or "hopa"
        if preset not in preset_names():
            raise InputError(
                f"unknown preset '{preset}'{nearest(preset, preset_names())}; known: {', '.join(preset_names())}"
            )
        text = (resources.files("omnidistill") / "presets" / f"{preset}.toml").read_bytes()
        tree, where = _read_toml(text, f"preset {preset}"), f"preset {preset}"
    for override in sorted(overrides, key=lambda text: not text.partition("=")[0].strip().endswith(".kind")):
        key, found, literal = override.partition("=")
        if not found:
            raise InputError(f"--set {override}: expected key=value, for example --set distill.iterations=500")
        _assign(tree, key.strip(), _literal(literal.strip()), f"--set {override}")
    for key, value in fixed.items():
        if value is not None:
            _assign(tree, key.replace("__", "."), value, key)
    return parse_config(tree, where)


def parse_config(tree: dict[str, Any], where: str) -> RunConfig:
    """Validate a tree of plain values; `where` names its source in errors."""
    try:
        return RunConfig.model_validate_json(json.dumps(_with_kinds(tree, RunConfig), default=_no_setting))
    except ValidationError as error:
        raise InputError(f"{where}: {_explain(error)}") from None
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
                lines += describe_fields(alternative, f"{prefix}{name}.")
        elif name != "kind":
            lines.append((f"{prefix}{name}", json.dumps(default), field.description or ""))
    return lines


def _alternatives(annotation: Any) -> list[type[BaseModel]]:
    return [kind for kind in getattr(annotation, "__args__", ()) if isinstance(kind, type)]


def _read_toml(text: bytes | None, where: str) -> dict[str, Any]:
    if text is None:
        raise InputError(f"{where}: no such file")
    try:
        return tomllib.loads(text.decode())
    except ValueError as error:
        raise InputError(f"{where}: not valid TOML: {error}") from None


def _literal(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        return text


def _assign(tree: dict[str, Any], key: str, value: Any, where: str) -> None:
    *parents, leaf = key.split(".")
    kind = _default_kind(parents)
    for parent in parents:
        tree = tree.setdefault(parent, {})
        if not isinstance(tree, dict):
            raise InputError(f"{where}: '{parent}' is a value, not a section")
    if leaf == "kind" and tree.get("kind", kind) != value:
        tree.clear()  # another choice has other settings
    tree[leaf] = value


def _default_kind(section: Sequence[str]) -> str | None:
    place: Any = RunConfig()
    for part in section:
        place = getattr(place, part, None)
    return getattr(place, "kind", None)


def _no_setting(value: Any) -> Any:
    raise ValueError(f"{value} is a {type(value).__name__}; settings are numbers, text, true or false, lists, tables")


def _with_kinds(tree: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """The tree with the default `kind` wherever a choice was refined but not named."""
    filled = dict(tree)
    for name, field in model.model_fields.items():
        section, default = filled.get(name), field.get_default()
        if isinstance(section, dict) and isinstance(default, BaseModel):
            if _alternatives(field.annotation):
                filled[name] = {"kind": getattr(default, "kind", None), **section}
            else:
                filled[name] = _with_kinds(section, type(default))
    return filled


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    location = [str(part) for part in first["loc"]]
    key, found = ".".join(_without_kinds(location)) or "run", first.get("input")
    if first["type"] == "extra_forbidden":
        known = _siblings(location[:-1])
        hint = nearest(location[-1], known) or f"; known here: {', '.join(known)}"
        return f"unknown setting '{key}'{hint}"
    message = first["msg"].removeprefix("Value error, ")
    return message if first["type"] == "value_error" else f"{key} = {json.dumps(found, default=str)}: {message}"


def _without_kinds(location: Sequence[str]) -> list[str]:
    """Pydantic puts the tag of a choice into the location; a user never types it."""
    return [part for i, part in enumerate(location) if i == 0 or part not in _kinds(location[:i])]


def _kinds(location: Sequence[str]) -> set[str]:
    return {model.model_fields["kind"].default for model in _models_at(location) if "kind" in model.model_fields}


def _siblings(location: Sequence[str]) -> list[str]:
    return sorted({name for model in _models_at(location) for name in model.model_fields})


def _models_at(location: Sequence[str]) -> list[type[BaseModel]]:
    models: list[type[BaseModel]] = [RunConfig]
    for part in location:
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
