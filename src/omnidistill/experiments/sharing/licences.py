"""Determine the licence of a distilled set, which is the strictest of the licences of its sources.

From the least strict to the strictest:

    public domain < attribution < share-alike < non-commercial < any other licence that the user states

The sources are the parts of the data and the weights of the encoders, as recorded in the provenance of the set. If the
licence of a source is not known, the user must state it. If a licence forbids redistributing derived works, the set
cannot be pushed. This module is not legal advice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from omnidistill.core.arguments import argument
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
"""Phrases by which a licence forbids redistributing a set that is derived from the work."""

_HUB_NAMES = {"ODC-By-1.0": "odc-by", "ODbL-1.0": "odbl", "PDDL-1.0": "pddl"}
_NOT_ON_HUB = {"Unicode-3.0", "0BSD"}


@dataclass(frozen=True)
class Licence:
    """Licence of a distilled set.

    Attributes:
        name: SPDX identifier. Several identifiers are joined by AND.
        sources: {name of a source: its licence, or None if no licence is recorded}.
        non_commercial: whether the licence of a source forbids commercial use.
    """

    name: str
    sources: dict[str, str | None]
    non_commercial: bool

    @property
    def card(self) -> dict[str, str]:
        """Licence fields for the metadata of the dataset card. A licence that the Hub does not list is `other`."""
        if " AND " in self.name or self.name not in _STRICTNESS or self.name in _NOT_ON_HUB:
            return {"license": "other", "license_name": re.sub(r"\s+", "-", self.name.lower())}
        return {"license": _HUB_NAMES.get(self.name, self.name.lower())}


def licence_of(provenance: Mapping[str, Json], said: str | None = None) -> Licence:
    """Return the licence of a set.

    Args:
        provenance: provenance of the set, as JSON. The field "licences" contains one licence of the data, a list of
            them, or a dict {source: licence}. A source that is also a key of the field "encoders" is an encoder; any
            other source is a part of the data. The licence of an encoder can also be in its entry in "encoders".
        said: SPDX identifier from the user. It applies to all sources whose licence is not known.

    Raises:
        InputError: a licence forbids redistribution; or a licence is unknown or the data have none, and `said` is None.
    """
    data, weights = _sources(provenance)
    sources = {**data, **weights}
    for part, text in [*sources.items(), (argument("licence"), said)]:
        if phrase := _forbidding(text):
            raise InputError(
                f"licence of {part}: '{text}' does not allow redistribution of derived sets ('{phrase}'); do not push "
                "this set"
            )
    unknown = [part for part, text in sources.items() if text is not None and not _names(text)]
    if not any(data.values()):
        unknown.append("the data")
    if unknown and said is None:
        raise InputError(
            f"licence of {', '.join(unknown)}: unknown; if you are allowed to redistribute the set, state the "
            f"licence, for example with {argument('licence', 'CC-BY-4.0')}"
        )
    names = [name for text in sources.values() if text is not None for name in _names(text)]
    if said is not None:
        sources["named by the uploader"] = said
        names += _names(said) or [said]
    strictest = max(map(_strictness, names))
    chosen = sorted({name for name in names if _strictness(name) == strictest})
    return Licence(" AND ".join(chosen), sources, any(_strictness(name) == _NON_COMMERCIAL for name in names))


def _sources(provenance: Mapping[str, Json]) -> tuple[dict[str, str | None], dict[str, str | None]]:
    """Return two dicts {source: licence}: one for the parts of the data, and one for the encoders."""
    stated = _texts(provenance.get("licences") or provenance.get("licence"))
    encoders = provenance.get("encoders")
    named = encoders if isinstance(encoders, Mapping) else {}
    weights = {}
    for name, encoder in named.items():
        own = encoder.get("licence") if isinstance(encoder, Mapping) else None
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
    """Return the SPDX identifiers in a text, such as CC-BY-NC-4.0 in "ImageBind weights, Meta, CC-BY-NC 4.0"."""
    words = re.findall(r"[a-z0-9][a-z0-9.-]*", re.sub(r"[\s_]+(?=\d)", "-", text.lower()))
    return [_KNOWN[word] for word in (word.rstrip(".-") for word in words) if word in _KNOWN]


def _forbidding(text: str | None) -> str | None:
    plain = " ".join((text or "").lower().split())
    return next((words for words in FORBIDDING if words in plain), None)


def _strictness(name: str) -> int:
    return _STRICTNESS.get(name, len(_CLASSES))
