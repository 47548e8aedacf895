"""Load settings from TOML files, presets and `key=value` overrides, and validate them."""

from __future__ import annotations

import json
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
from omnidistill.experiments.config.toml_files import first_lines, packaged_files, parse_toml, read_file, read_toml
from omnidistill.io.input_files import MOST_LEVELS

DEFAULT = "anchor"
"""The preset used if none is given."""


def preset_names() -> list[str]:
    """Return the names of the presets in the package; a preset in a subfolder is named "folder/name"."""
    return list(packaged_files("presets"))


def describe_presets() -> dict[str, str]:
    """Map the name of each preset to its description, the first line of its TOML file."""
    return first_lines("presets")


def load_config(
    source: Path | RunConfig | None = None,
    preset: str | None = None,
    overrides: Sequence[str] | Mapping[str, object] = (),
    **fixed: Any,
) -> RunConfig:
    """Read a TOML file or a preset (default: "anchor") and apply overrides.

    A file or preset with the key `extends` builds on another preset and contains only the settings that differ from it.
    If an override selects another `kind` of a component, the settings of the previous kind are dropped.

    Args:
        source: a TOML file, or complete settings to start from.
        preset: the name of a preset, instead of `source`.
        overrides: "key=value" strings with a dotted key and a TOML literal, for example "distill.iterations=500"; or a
            dict {key: value}, whose values may also be tables or components.
        fixed: settings as keyword arguments, with "__" in place of each dot in the key. Values that are None are
            ignored.

    Raises:
        InputError: the TOML file is unreadable, the preset is unknown, or a setting is unknown, renamed or invalid. The
            message names the key and suggests the closest known one.
    """
    if source is not None and preset is not None:
        raise InputError(f"{argument('preset')} and {argument('config')} both define the settings; pass only one")
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
    """Return two things: a description of the source, for error messages, and the settings that it contains."""
    match source:
        case None:
            return f"preset {preset}", _preset(preset)
        case Path():
            return str(source), _extended(read_file(source), str(source))
        case RunConfig():
            return "config", source.model_dump(mode="json")
    raise InputError(
        f"config: found a {type(source).__name__}; pass a RunConfig or the pathlib.Path of a TOML file (use the "
        "argument 'settings' for single settings)"
    )


def parse_config(tree: Mapping[str, Any], where: str, given: Mapping[str, str] | None = None) -> RunConfig:
    """Validate settings given as a tree of plain values.

    Args:
        tree: the settings.
        where: description of the source of the settings, quoted in error messages.
        given: settings that come from another source, such as the command line, as {key: description of the source}.
            Error messages about these settings quote this description instead of `where`.

    Raises:
        InputError: a setting is unknown or renamed, has the wrong type, or is out of range.
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
        raise InputError(f"{source}cannot use the settings: {explain(error, RunConfig, filled)}") from None
    except ValueError as error:
        raise InputError(f"{where}: cannot use the settings: {error}") from None


def split_tables(overrides: Iterable[str]) -> tuple[str, ...]:
    """Split each override that sets a table into one override per setting: `a={b=1, c=2}` becomes `a.b=1`, `a.c=2`."""
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
    """Yield (dotted key, value) for each setting in the overrides.

    Args:
        overrides: "key=value" strings, or a dict {key: value}.

    Raises:
        InputError: `overrides` is neither of these.
    """
    if isinstance(overrides, Mapping):
        for key, value in overrides.items():
            yield from _leaves(str(key), value)
        return
    texts = list(overrides) if isinstance(overrides, Iterable) and not isinstance(overrides, str) else [overrides]
    for text in texts:
        if not isinstance(text, str):
            raise InputError(
                f"settings: found {text!r}; pass a dict such as {{'distill.iterations': 500}}, or strings such as "
                "'distill.iterations=500'"
            )
        yield from (_pair(each) for each in _split_table(text))


def as_texts(overrides: object) -> tuple[str, ...]:
    """Return overrides as "key=value" strings.

    A value that has settings of its own, such as a storage of rows, gives one string per setting.

    Raises:
        InputError: `overrides` is neither a dict nor "key=value" strings.
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
        return parse_toml(f"value = {text}")["value"]
    except ValueError:
        return text.strip()


def _preset(name: str) -> Tree:
    presets = packaged_files("presets")
    if name not in presets:
        raise InputError(f"unknown preset '{name}'{nearest(name, presets)}; 'omnidistill presets' lists all presets")
    return _extended(read_toml(presets[name], f"preset {name}"), f"preset {name}")


def _extended(tree: Tree, where: str) -> Tree:
    """Merge the settings tree into the preset that it extends, if any, and return the result.

    Settings with several implementations, such as the storage of rows, become tables. Their key `kind` names the
    implementation.
    """
    base = tree.pop("extends", None)
    if base is None:
        return with_kinds(tree, RunConfig)
    if not isinstance(base, str):
        raise InputError(
            f"{where}: 'extends' is {base!r}; write the name of a preset ('omnidistill presets' lists them)"
        )
    return with_kinds(merged(_preset(base), tree), RunConfig)


def _kinds_first(pairs: Iterable[tuple[str, Any]], tree: Tree) -> list[tuple[str, Any]]:
    """Sort settings: first those that select an implementation, such as "distill.storage.kind", then all others.

    Among those that select an implementation, keys with fewer parts come first, because an outer choice determines
    which inner settings exist.
    """

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
    if len(parents) >= MOST_LEVELS:
        raise InputError(f"{key[:60]}...: a dotted key has more than {MOST_LEVELS} parts; check the key")
    root, section = tree, tree
    for parent in parents:
        section = section.setdefault(parent, {})
        if not isinstance(section, dict):
            raise InputError(f"{where}: '{parent}' is a single setting, not a section of settings; correct the key")
    if leaf == "kind":
        current = with_kinds(root, RunConfig)
        for parent in parents:
            current = current[parent]
        if current.get("kind", value) != value:
            section.clear()  # the settings of the previous kind do not apply to the new one
    section[leaf] = value


def _refuse_renamed(tree: Mapping[str, Any], where: str, given: Mapping[str, str]) -> None:
    """Raise InputError if a setting still has its old name or value from version 0.1.

    The message names the source of the setting and the new name or value.
    """

    def source(key: str) -> str:
        return next((text for name, text in given.items() if f"{name}.".startswith(f"{key}.")), where)

    for old, new in RENAMED.items():
        if _at(tree, old) is not None:
            raise InputError(f"{source(old)}: setting '{old}' is now called '{new}'; see docs/upgrading.md")
    for (key, value), today in RENAMED_VALUES.items():
        current = _at(tree, key)
        if current == value and type(current) is type(value):
            raise InputError(
                f"{source(key)}: {key} = {json.dumps(value)} is now written as {today}; see docs/upgrading.md"
            )


def _at(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree


def _no_setting(value: Any) -> Any:
    raise ValueError(f"{value} is a {type(value).__name__}; settings must be numbers, text, booleans, lists or tables")
