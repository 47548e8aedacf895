"""Build the settings of a run from the arguments of a function or the options of a command.

If two arguments determine the same setting, an error is raised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from omnidistill.core.arguments import argument, setting
from omnidistill.core.errors import InputError
from omnidistill.experiments.config.load import load_config, overridden
from omnidistill.experiments.config.run_config import RunConfig
from omnidistill.experiments.config.toml_files import read_file

SettingValues = Sequence[str] | Mapping[str, object]
"""Single settings: "key=value" strings, or a dict {key: value}."""


def requested_config(
    *,
    size: int | None = None,
    bytes: str | int | None = None,
    preset: str | None = None,
    config: RunConfig | Path | None = None,
    settings: SettingValues = (),
    seed: int | None = None,
    usual_size: int | None = None,
) -> RunConfig:
    """Return the settings of a run.

    Args:
        size: number of synthetic rows.
        bytes: size budget, instead of `size`: a number of bytes, or text such as "64kB" or "1%".
        preset: name of a preset; None uses "anchor", or "anchor-coded" if there is a budget.
        config: complete settings or a TOML file, instead of a preset.
        settings: single settings, which replace those of the preset or of `config`.
        seed: seed for every random stream.
        usual_size: number of rows if neither `size` nor `bytes` is given.

    Raises:
        InputError: two arguments determine the same setting, or a setting is invalid.
    """
    of_file = [] if bytes is None else _size_of_file(config)
    _require_one("distill.size", {"bytes": bytes, "size": size}, settings, of_file)
    _require_one("seed", {"seed": seed}, settings)
    if bytes is not None:
        number: int | str | None = str(bytes)
    else:
        number = usual_size if size is None else size
    if preset is None and config is None and bytes is not None:
        preset = "anchor-coded"
    return load_config(config, preset, settings, distill__size=number, seed=seed)


def _require_one(
    key: str, arguments: Mapping[str, object], settings: SettingValues, others: Sequence[str] = ()
) -> None:
    """Raise InputError if the setting `key` is given more than once, for example by an argument and in `settings`."""
    given = [argument(name, value) for name, value in arguments.items() if value is not None]
    if not given:
        return
    given += [setting(f"{name}={value}") for name, value in overridden(settings) if name == key]
    given += others
    if len(given) > 1:
        raise InputError(f"{given[0]} and {given[1]}: both set {key}; use only one")


def _size_of_file(config: RunConfig | Path | None) -> list[str]:
    """Return ["distill.size in FILE"] if the TOML file itself sets the size, otherwise an empty list.

    A size from the preset that the file extends does not count, because it is only a default.
    """
    section = read_file(config).get("distill") if isinstance(config, Path) else None
    return [f"distill.size in {config}"] if isinstance(section, dict) and "size" in section else []
