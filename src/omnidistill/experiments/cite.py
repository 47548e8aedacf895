"""What to cite: BibTeX of this program and of the works that a run, a preset or an encoder rests on.

citations/works.bib      the works, by key
Settings.citations       which of them a component or a group of settings rests on
encoders.encoder_works   which of them an encoder rests on, as it is registered
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from omnidistill.core.errors import InputError, nearest
from omnidistill.distill import DistilledSet
from omnidistill.distill.distilled_set import KIND
from omnidistill.distill.version_0_1 import upgraded_config
from omnidistill.encoding.encoders import encoder_works
from omnidistill.experiments.config import RunConfig, load_config, parse_config, preset_names
from omnidistill.experiments.config.settings_tree import sections_of
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
    """Return the keys of the works that a run with these settings, over features of these encoders, rests on."""
    keys = [
        key
        for section, settings in sections_of(config)
        if config.distill.uses_experts or not section.startswith("experts")
        for key in settings.citations()
    ]
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
    """Keys of every run and every artifact below a folder."""
    for path in sorted(folder.rglob("run.json")):
        yield from _keys_of_config(read_json(path).get("config"), f"{path}, field 'config'")
    for path in sorted(folder.rglob("manifest.json")):
        manifest = read_json(path)
        meta = manifest.get("meta", {})
        provenance = meta.get("provenance", {}) if isinstance(meta, dict) else {}
        if manifest.get("kind") == KIND:
            found = DistilledSet.load(path.parent)
            for component in (found.spec.storage, found.spec.similarity, found.spec.objective, found.spec.recipe):
                yield from component.citations()
            with suppress(InputError):  # the configuration is provenance: one that cannot be read is no error
                yield from _keys_of_config(found.provenance.config, str(path))
            provenance = found.provenance.to_json()
        for encoder in provenance.get("encoders", {}).values():
            yield from _of_encoder(encoder.get("name", "") if isinstance(encoder, dict) else str(encoder))


def _keys_of_config(tree: Any, where: str) -> list[str]:
    if not isinstance(tree, Mapping):
        raise InputError(f"{where} is missing; the file was altered")
    return keys_of_run(parse_config(upgraded_config(tree), where))


def _of_encoder(name: str) -> list[str]:
    """By the longest beginning that is known, at the end of a word."""
    plain = re.sub(r"[\s_]+", "-", name.lower())
    known = {re.sub(r"[\s_]+", "-", each.lower()): cites for each, cites in encoder_works().items()}
    fitting = [each for each in known if re.match(rf"{re.escape(each)}(?![a-z])", plain)]
    return list(known[max(fitting, key=len)]) if fitting else []
