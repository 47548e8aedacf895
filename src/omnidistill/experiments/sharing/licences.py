"""Under which licence a set may be passed on: that of its strictest source.

    public domain < attribution < share-alike < non-commercial < named by the user, of another kind

Sources are what the set's provenance names: parts of the data, and the encoders' weights. Where a licence is not known,
the user has to say it; where one forbids to pass on what is made from the work, nothing can be pushed. This sorts
licences by what they ask for; it is no legal advice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from omnidistill.core.errors import InputError
from omnidistill.core.json_value import Json

_CLASSES = (
    ("CC0-1.0", "PDDL-1.0", "Unlicense", "0BSD"),
    (
        *("MIT", "ISC", "Zlib", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "Unicode-3.0", "ODC-By-1.0"),
        *("CC-BY-2.0", "CC-BY-2.5", "CC-BY-3.0", "CC-BY-4.0", "CDLA-Permissive-1.0", "CDLA-Permissive-2.0"),
    ),
    ("CC-BY-SA-3.0", "CC-BY-SA-4.0", "ODbL-1.0", "CDLA-Sharing-1.0", "MPL-2.0", "GPL-3.0", "AGPL-3.0", "LGPL-3.0"),
    ("CC-BY-NC-2.0", "CC-BY-NC-3.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-2.0", "CC-BY-NC-SA-3.0", "CC-BY-NC-SA-4.0"),
)
_STRICTNESS = {name: place for place, names in enumerate(_CLASSES) for name in names}
_KNOWN = {name.lower(): name for name in _STRICTNESS}
_NON_COMMERCIAL = 3

FORBIDDING = (
    *("no redistribution", "no-redistribution", "not be redistributed", "redistribution prohibited"),
    *("cc-by-nd", "cc-by-nc-nd", "no derivatives", "all rights reserved", "proprietary"),
)
"""Words of a licence under which a set made from the work is not passed on."""

_HUB_NAMES = {"ODC-By-1.0": "odc-by", "ODbL-1.0": "odbl", "PDDL-1.0": "pddl"}
_NOT_ON_HUB = {"Unicode-3.0", "0BSD"}


@dataclass(frozen=True)
class Licence:
    """Of a set.

    name: SPDX, several joined by AND. sources: what each source says, None where it says nothing.
    """

    name: str
    sources: dict[str, str | None]
    non_commercial: bool

    @property
    def card(self) -> dict[str, str]:
        """The fields of the hub's front matter: a name that it knows, or `other` with the name."""
        if " AND " in self.name or self.name not in _STRICTNESS or self.name in _NOT_ON_HUB:
            return {"license": "other", "license_name": re.sub(r"\s+", "-", self.name.lower())}
        return {"license": _HUB_NAMES.get(self.name, self.name.lower())}


def licence_of(provenance: Mapping[str, Json], said: str | None = None) -> Licence:
    """Return the licence of a set.

    Args:
        provenance: provenance of the set, as JSON. Its "licences" ({part: licence}, a list, or one) are those of the
            data, except for parts that are also named in "encoders", which may have a "licence" of their own.
        said: the licence (SPDX) that the user states for sources whose licence is not known.

    Raises:
        InputError: the licence of a source forbids sharing, or it is not known and the user states none.
    """
    data, weights = _sources(provenance)
    sources = {**data, **weights}
    for part, text in [*sources.items(), ("--licence", said)]:
        if found := _forbidding(text):
            raise InputError(f"licence of {part}: '{text}' ({found}): a set made from it may not be passed on")
    unknown = [part for part, text in sources.items() if text is not None and not _names(text)]
    if not any(data.values()):
        unknown.append("the data")
    if unknown and said is None:
        raise InputError(
            f"licence of {', '.join(unknown)}: not known; if you may pass it on, say under which: --licence CC-BY-4.0"
        )
    names = [name for text in sources.values() if text is not None for name in _names(text)]
    if said is not None:
        sources["said by who shares it"] = said
        names += _names(said) or [said]
    strictest = max(map(_strictness, names))
    chosen = sorted({name for name in names if _strictness(name) == strictest})
    return Licence(" AND ".join(chosen), sources, any(_strictness(name) == _NON_COMMERCIAL for name in names))


def _sources(provenance: Mapping[str, Json]) -> tuple[dict[str, str | None], dict[str, str | None]]:
    """What parts of the data, and encoders, say of their licence."""
    stated = _texts(provenance.get("licences") or provenance.get("licence"))
    encoders = provenance.get("encoders")
    named = encoders if isinstance(encoders, Mapping) else {}
    weights = {}
    for name, made_by in named.items():
        own = made_by.get("licence") if isinstance(made_by, Mapping) else None
        weights[f"encoder of {name}"] = stated.get(name) or (str(own) if own else None)
    return {part: text for part, text in stated.items() if part not in named}, weights


def _texts(licences: Json) -> dict[str, str | None]:
    match licences:
        case Mapping():
            return {str(part): str(text) for part, text in licences.items()}
        case list() | tuple():
            return {f"part {place} of the data": str(text) for place, text in enumerate(licences, 1)}
        case None:
            return {}
    return {"the data": str(licences)}


def _names(text: str) -> list[str]:
    """The licences that a line names, by SPDX: "ImageBind weights, Meta Platforms, CC-BY-NC 4.0: ..." names one."""
    words = re.findall(r"[a-z0-9][a-z0-9.-]*", re.sub(r"[\s_]+(?=\d)", "-", text.lower()))
    return [_KNOWN[word] for word in (word.rstrip(".-") for word in words) if word in _KNOWN]


def _forbidding(text: str | None) -> str | None:
    plain = " ".join((text or "").lower().split())
    return next((words for words in FORBIDDING if words in plain), None)


def _strictness(name: str) -> int:
    return _STRICTNESS.get(name, len(_CLASSES))
