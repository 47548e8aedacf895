"""Load settings from TOML files, presets and `key=value` overrides, and validate them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from omnidistill.core.arguments import argument, setting
from omnidistill.core.errors import InputError, nearest
from omnidistill.distillation.version_0_1 import RENAMED, RENAMED_VALUES
from omnidistill.experiments.config.run_config import RunConfig
from omnidistill.experiments.config.settings_tree import (
    Tree,
    explain,
    key_of,
    merged,
    registry_of,
    submodel,
    with_kinds,
)
from omnidistill.experiments.config.toml_files import first_lines, packaged_files, read_file, read_toml

DEFAULT = "recommended"
"""The preset that is used if none is given."""


def preset_names() -> list[str]:
    """Return the names of the presets included in the package; those in a subfolder are "folder/name"."""
    return list(packaged_files("presets"))


def describe_presets() -> dict[str, str]:
    """Return {name: first line of its comment} for every preset."""
    return first_lines("presets")


def load_config(
    source: Path | RunConfig | None = None,
    preset: str | None = None,
    overrides: Sequence[str] | Mapping[str, object] = (),
    **fixed: Any,
) -> RunConfig:
    """Read a TOML file or a preset (default: "recommended") and apply overrides.

    A file or preset that `extends` a preset contains only the settings that differ from it. Selecting another `kind` of
    a component drops the settings of the previous one.

    Args:
        source: a TOML file, or complete settings to start from.
        preset: the name of a preset, instead of a source.
        overrides: "key=value" with a dotted key and a TOML literal, for example "distill.iterations=500"; or
            {key: value}, whose values may be tables or components.
        fixed: values by key, with "__" for the dots; None is ignored.

    Raises:
        InputError: the TOML is unreadable, the preset is unknown, or a setting is unknown, renamed or invalid; the
            message names the key and the nearest known one.
    """
    if source is not None and preset is not None:
        raise InputError(f"{argument('preset')} and {argument('config')} both choose the settings; give only one")
    preset = preset or DEFAULT
    where, tree = _source(source, preset)
    pairs = list(overridden(overrides))
    for key, value in _kinds_first(pairs, tree):
        _assign(tree, key, value, setting(f"{key}={json.dumps(value, default=str)}"))
    given = {key.replace("__", "."): value for key, value in fixed.items() if value is not None}
    for key, value in given.items():
        _assign(tree, key, value, where)
    return parse_config(tree, where, {**{key: setting(key) for key, _ in pairs}, **{key: key for key in given}})


def _source(source: object, preset: str) -> tuple[str, Tree]:
    """Return the name of the source of the settings, and the settings."""
    match source:
        case None:
            return f"preset {preset}", _preset(preset)
        case Path():
            return str(source), _extended(read_file(source), str(source))
        case RunConfig():
            return "config", source.model_dump(mode="json")
    raise InputError(
        f"config: found a {type(source).__name__}; give a RunConfig or the Path of a TOML file; single settings belong "
        "in settings"
    )


def parse_config(tree: Mapping[str, Any], where: str, given: Mapping[str, str] | None = None) -> RunConfig:
    """Validate a tree of plain values.

    Args:
        tree: the settings.
        where: the source of the tree, for errors.
        given: {key: source} of settings from another source, such as the command line; errors in them name that source.

    Raises:
        InputError: a setting is unknown, renamed, of another type or out of range.
    """
    given = given or {}
    _refuse_renamed(tree, where, given)
    filled = with_kinds(tree, RunConfig)
    try:
        return RunConfig.model_validate_json(json.dumps(filled, default=_no_setting))
    except ValidationError as error:
        key = key_of(error)
        known = f"{key}.kind" in given or any(f"{key}.".startswith(f"{name}.") for name in given)
        source = "" if known else f"{where}: "
        raise InputError(f"{source}{explain(error, RunConfig, filled)}") from None
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None


def split_tables(overrides: Iterable[str]) -> tuple[str, ...]:
    """Return each override by the dotted key of one setting: `a={b=1, c=2}` becomes `a.b=1` and `a.c=2`."""
    return tuple(setting for override in overrides for setting in _split_table(override))


def _split_table(override: str) -> Iterator[str]:
    key, found, text = (part.strip() for part in override.partition("="))
    value = _literal(text)
    if isinstance(value, dict):
        yield from (f"{each}={json.dumps(leaf, ensure_ascii=False, default=str)}" for each, leaf in _leaves(key, value))
    else:
        yield f"{key}{found}{text}"


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping) or not value:
        yield key, value
        return
    for name, inner in value.items():
        yield from _leaves(f"{key}.{name}", inner)


def overridden(overrides: object) -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of every single setting.

    Args:
        overrides: texts "key=value", or {key: value}.

    Raises:
        InputError: it is neither.
    """
    if isinstance(overrides, Mapping):
        for key, value in overrides.items():
            yield from _leaves(str(key), value)
        return
    texts = list(overrides) if isinstance(overrides, Iterable) and not isinstance(overrides, str) else [overrides]
    for text in texts:
        if not isinstance(text, str):
            raise InputError(
                f"settings: found {text!r}; give a dict such as {{'distill.iterations': 500}}, or strings such as "
                "'distill.iterations=500'"
            )
        yield from (_pair(each) for each in _split_table(text))


def as_texts(overrides: object) -> tuple[str, ...]:
    """Return single settings as texts "key=value"; a component becomes one text for each of its settings.

    Raises:
        InputError: see `overridden`.
    """
    plain = ((key, to_jsonable_python(value)) for key, value in overridden(overrides))
    return tuple(f"{key}={json.dumps(leaf)}" for name, value in plain for key, leaf in _leaves(name, value))


def _pair(override: str) -> tuple[str, Any]:
    key, found, text = override.partition("=")
    if not found:
        example = setting("distill.iterations=500")
        raise InputError(f"{setting(override)}: expected key=value, for example {example}")
    return key.strip(), _literal(text)


def _literal(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        return text.strip()


def _preset(name: str) -> Tree:
    presets = packaged_files("presets")
    if name not in presets:
        raise InputError(f"unknown preset '{name}'{nearest(name, presets)}; 'omnidistill presets' lists them")
    return _extended(read_toml(presets[name], f"preset {name}"), f"preset {name}")


def _extended(tree: Tree, where: str) -> Tree:
    """Return the preset that the tree extends, merged with the tree; every component names its kind."""
    base = tree.pop("extends", None)
    if base is None:
        return with_kinds(tree, RunConfig)
    if not isinstance(base, str):
        raise InputError(f"{where}: extends = {base!r} must be the name of a preset")
    return with_kinds(merged(_preset(base), tree), RunConfig)


def _kinds_first(pairs: Iterable[tuple[str, Any]], tree: Tree) -> list[tuple[str, Any]]:
    """Sort settings: those that select a component come first, outer components before inner ones."""

    def rank(pair: tuple[str, Any]) -> tuple[bool, int]:
        key, value = pair
        chooses = key.endswith(".kind") or (isinstance(value, str) and _is_component(key, tree))
        return not chooses, key.count(".") if chooses else 0

    return sorted(((key, value) for key, value in pairs), key=rank)


def _is_component(key: str, tree: Mapping[str, Any]) -> bool:
    model: Any = RunConfig
    *parents, leaf = key.split(".")
    for part in parents:
        section = tree.get(part, {}) if isinstance(tree, Mapping) else {}
        model, tree = submodel(model, part, section), section
        if model is None:
            return False
    return registry_of(model, leaf) is not None


def _assign(tree: Tree, key: str, value: Any, where: str) -> None:
    if _is_component(key, tree) and isinstance(value, str):
        key = f"{key}.kind"
    elif _is_component(key, tree) and hasattr(value, "kind"):
        value = to_jsonable_python(value)
    *parents, leaf = key.split(".")
    root, section = tree, tree
    for parent in parents:
        section = section.setdefault(parent, {})
        if not isinstance(section, dict):
            raise InputError(f"{where}: '{parent}' is a value, not a section")
    if leaf == "kind":
        current = with_kinds(root, RunConfig)
        for parent in parents:
            current = current[parent]
        if current.get("kind", value) != value:
            section.clear()  # another kind has other settings
    section[leaf] = value


def _refuse_renamed(tree: Mapping[str, Any], where: str, given: Mapping[str, str]) -> None:
    """Raise InputError for a setting of version 0.1; the message gives its source and its new name."""

    def source(key: str) -> str:
        return next((text for name, text in given.items() if f"{name}.".startswith(f"{key}.")), where)

    for old, new in RENAMED.items():
        if _at(tree, old) is not None:
            raise InputError(f"{source(old)}: setting '{old}' is now '{new}'; see docs/upgrading.md")
    for (key, value), today in RENAMED_VALUES.items():
        current = _at(tree, key)
        if current == value and type(current) is type(value):
            raise InputError(f"{source(key)}: {key} = {json.dumps(value)} is now {today}; see docs/upgrading.md")


def _at(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree


def _no_setting(value: Any) -> Any:
    raise ValueError(f"{value} is a {type(value).__name__}; settings are numbers, text, true or false, lists, tables")
