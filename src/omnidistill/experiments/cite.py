"""What to cite: BibTeX of this program and of the works that a run, a preset or an encoder rests on.

citations/works.bib     the works, by key
citations/uses.toml     which of them a setting rests on
encoders.encoder_works  which of them an encoder rests on, as it is registered
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from omnidistill.config import RunConfig, load_config, parse_config, preset_names
from omnidistill.config.files import read_toml
from omnidistill.core.errors import InputError, nearest
from omnidistill.encoding.encoders import encoder_works
from omnidistill.io.artifacts import read_json

SELF = "omnidistill"
"""The key of this program."""

_KEY = r"\s*@\w+\{\s*([^,\s]+)\s*,"


def cite(names: Sequence[str] = ()) -> dict[str, str]:
    """{key: BibTeX entry} of this program, and of whatever each name rests on: a run, a comparison or another folder
    that was made, a preset, an encoder, or the key of a work.

    Raises InputError for a name that is none of these, with the nearest that is.
    """
    wanted = [SELF, *(key for name in names for key in _keys_of(name))]
    return dict(_entry(work) for work in dict.fromkeys(wanted))


def keys_of_run(config: RunConfig, encoders: Iterable[str] = ()) -> list[str]:
    """Keys of the works that a run with these settings, over features of these encoders, rests on."""
    tree = config.model_dump(mode="json")
    keys: list[str] = []
    for setting, works_of in _uses().items():
        if setting.startswith("experts.") and not config.distill.uses_experts:
            continue
        keys += works_of.get(_literal(_at(tree, setting)), works_of.get("*", ()))
    return list(dict.fromkeys([*keys, *(key for name in encoders for key in _of_encoder(name))]))


@cache
def works() -> dict[str, str]:
    """Every entry of works.bib by its key."""
    text = (resources.files("omnidistill") / "citations" / "works.bib").read_text("utf-8")
    text = text.replace("{VERSION}", f"{{{metadata.version(SELF)}}}")
    entries = [entry.strip() for entry in re.split(r"\n(?=@)", text)]
    return {re.match(_KEY, entry)[1]: entry for entry in entries}  # type: ignore[index]


def _entry(work: str) -> tuple[str, str]:
    """Return key and BibTeX entry of a work: a key of works.bib, or a complete entry of a component's own."""
    if match := re.match(_KEY, work):
        return match[1], work
    if work not in works():
        raise InputError(f"{work!r}: no work of this key is known, and it is no BibTeX entry (@misc{{key, ...}})")
    return work, works()[work]


def _keys_of(name: str) -> list[str]:
    path = Path(name)
    if path.is_dir():
        keys = list(dict.fromkeys(_keys_below(path)))
        if not keys:
            raise InputError(f"{path}: holds no run and no set that was made; give a run, or a method by name")
        return keys
    if name in preset_names():
        return keys_of_run(load_config(preset=name))
    if encoder := _of_encoder(name):
        return encoder
    if name in works():
        return [name]
    known = [*preset_names(), *works(), *encoder_works()]
    raise InputError(f"{name}: neither a folder nor a method, an encoder or a work that is known{nearest(name, known)}")


def _keys_below(folder: Path) -> Iterator[str]:
    """Of every run and every artifact below."""
    for found in sorted(folder.rglob("run.json")):
        yield from keys_of_run(_config(read_json(found), found))
    for found in sorted(folder.rglob("manifest.json")):
        manifest = read_json(found)
        meta = manifest.get("meta", {})
        if manifest.get("kind") == "distilled":
            yield from keys_of_run(_config(meta, found))
        provenance = meta.get("provenance", {}) if isinstance(meta, dict) else {}
        for encoder in provenance.get("encoders", {}).values():
            yield from _of_encoder(encoder.get("name", "") if isinstance(encoder, dict) else str(encoder))


def _config(state: Mapping[str, Any], where: Path) -> RunConfig:
    tree = state.get("config")
    if not isinstance(tree, dict):
        raise InputError(f"{where}: field 'config' is missing; the file was altered")
    return parse_config(tree, f"{where}, field 'config'")


def _of_encoder(name: str) -> list[str]:
    """By the longest beginning that is known, at the end of a word."""
    plain = re.sub(r"[\s_]+", "-", name.lower())
    known = {re.sub(r"[\s_]+", "-", each.lower()): cites for each, cites in encoder_works().items()}
    fitting = [each for each in known if re.match(rf"{re.escape(each)}(?![a-z])", plain)]
    return list(known[max(fitting, key=len)]) if fitting else []


@cache
def _uses() -> dict[str, dict[str, list[str]]]:
    place = resources.files("omnidistill") / "citations" / "uses.toml"
    return read_toml(place.read_text("utf-8"), "citations/uses.toml")


def _at(tree: Mapping[str, Any], setting: str) -> Any:
    place: Any = tree
    for part in setting.split("."):
        place = place.get(part) if isinstance(place, Mapping) else None
    return place


def _literal(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
