"""Citations: BibTeX entries for omnidistill and for the works that a run, a preset or an encoder is based on.

citations/works.bib      the BibTeX entries of all works
Settings.citations       returns the keys of the works that a component or a group of settings is based on
encoders.encoder_works   returns the keys of the works that each encoder is based on
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
from omnidistill.distillation import DistilledSet
from omnidistill.distillation.set_spec import KIND
from omnidistill.distillation.version_0_1 import upgraded_config
from omnidistill.encoding.encoders import encoder_works
from omnidistill.experiments.config import RunConfig, load_config, parse_config, preset_names
from omnidistill.experiments.config.settings_tree import sections_of
from omnidistill.io.input_files import read_json

SELF = "omnidistill"
"""Key of omnidistill's own entry."""

_KEY = r"\s*@\w+\{\s*([^,\s]+)\s*,"


def cite(names: Sequence[str] = ()) -> dict[str, str]:
    """Return {key: BibTeX entry} for omnidistill and for all works that the given names are based on.

    Args:
        names: folders (of a run, a comparison or any other output), presets, encoders, or keys of works.

    Raises:
        InputError: a name is unknown (the message suggests the closest known name), or a folder contains neither a run
            nor a set.
    """
    keys = [SELF, *(key for name in names for key in _keys_of(name))]
    return dict(_entry(work) for work in dict.fromkeys(keys))


def keys_of_run(config: RunConfig, encoders: Iterable[str] = ()) -> list[str]:
    """Return the keys of the works that a run is based on, given its settings and the names of its encoders."""
    keys = [
        key
        for section, settings in sections_of(config)
        if config.distill.uses_experts or not section.startswith("experts")
        for key in settings.citations()
    ]
    return list(dict.fromkeys([*keys, *(key for name in encoders for key in _of_encoder(name))]))


@cache
def works() -> dict[str, str]:
    """Return {key: BibTeX entry} for all entries of works.bib."""
    text = (resources.files("omnidistill") / "citations" / "works.bib").read_text("utf-8")
    text = text.replace("{VERSION}", f"{{{metadata.version(SELF)}}}")
    entries = [entry.strip() for entry in re.split(r"\n(?=@)", text)]
    return {re.match(_KEY, entry)[1]: entry for entry in entries}  # type: ignore[index]


def _entry(work: str) -> tuple[str, str]:
    """Return the key and the BibTeX entry of `work`, which is a key in works.bib or a complete entry."""
    if match := re.match(_KEY, work):
        return match[1], work
    if work not in works():
        raise InputError(
            f"{work!r}: expected the key of a publication in omnidistill's works.bib, or a complete BibTeX entry "
            "(@misc{key, ...})"
        )
    return work, works()[work]


def _keys_of(name: str) -> list[str]:
    path = Path(name)
    if path.is_dir():
        keys = list(dict.fromkeys(_keys_below(path)))
        if not keys:
            raise InputError(
                f"{path}: contains neither a run nor a synthetic set; pass the folder of a run or of a set, or the "
                "name of a method"
            )
        return keys
    if name in preset_names():
        return keys_of_run(load_config(preset=name))
    if encoder := _of_encoder(name):
        return encoder
    if name in works():
        return [name]
    known = [*preset_names(), *works(), *encoder_works()]
    raise InputError(
        f"{name}: unknown name; pass a folder, a method, an encoder, or the BibTeX key of a publication"
        f"{nearest(name, known)}"
    )


def _keys_below(folder: Path) -> Iterator[str]:
    """Yield the BibTeX keys of all publications to cite for the runs and artifacts in a folder and its subfolders."""
    for path in sorted(folder.rglob("run.json")):
        yield from _keys_of_config(read_json(path).get("config"), f"{path}, field 'config'")
    for path in sorted(folder.rglob("manifest.json")):
        manifest = read_json(path)
        meta = manifest.get("meta", {})
        provenance = meta.get("provenance", {}) if isinstance(meta, dict) else {}
        if manifest.get("kind") == KIND:
            distilled = DistilledSet.load(path.parent)
            spec = distilled.spec
            for component in (spec.storage, spec.similarity, spec.objective, spec.recipe):
                yield from component.citations()
            with suppress(InputError):  # a set stays valid even if the configuration in its provenance is unreadable
                yield from _keys_of_config(distilled.provenance.config, str(path))
            provenance = distilled.provenance.to_json()
        for encoder in provenance.get("encoders", {}).values():
            yield from _of_encoder(encoder.get("name", "") if isinstance(encoder, dict) else str(encoder))


def _keys_of_config(tree: Any, where: str) -> list[str]:
    if not isinstance(tree, Mapping):
        raise InputError(f"{where}: the settings are missing or not a JSON object; the file was altered, so restore it")
    return keys_of_run(parse_config(upgraded_config(tree), where))


def _of_encoder(name: str) -> list[str]:
    """Return the keys of the works that an encoder is based on, or an empty list if the encoder is unknown.

    `name` must begin with the name of a known encoder, and the next character must not be a letter. For example, "CLIP
    ViT-B/32" matches the encoder "clip", but "clips" does not. Case is ignored, and spaces and underscores count as
    hyphens. If several encoders match, the one with the longest name is used.
    """
    plain = re.sub(r"[\s_]+", "-", name.lower())
    known = {re.sub(r"[\s_]+", "-", each.lower()): cites for each, cites in encoder_works().items()}
    prefixes = [each for each in known if re.match(rf"{re.escape(each)}(?![a-z])", plain)]
    return list(known[max(prefixes, key=len)]) if prefixes else []
