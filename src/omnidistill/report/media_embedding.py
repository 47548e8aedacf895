"""Embed media in the page as data URIs, up to a total number of bytes. Identical files are embedded only once."""

from __future__ import annotations

import base64
from collections.abc import Hashable

from omnidistill.core.errors import InputError
from omnidistill.report.items import MediumFactory


class EmbeddedMedia:
    """Data URIs, in the order of first use. Their total size is at most `budget` bytes.

    Attributes:
        uris: the data URIs.
        num_bytes: total size of the data URIs in bytes, including quotes and commas of the JSON list.
        left_out: number of media that were not embedded because they, or an earlier medium, did not fit into the
            budget.
        unreadable: error message for each file that cannot be used.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.uris: list[str] = []
        self.num_bytes: int = 0
        self.left_out: int = 0
        self.unreadable: list[str] = []
        self._by_key: dict[Hashable, int | None] = {}
        self._by_uri: dict[str, int] = {}

    def number(self, key: Hashable, factory: MediumFactory | None) -> int | None:
        """Return the index in `uris` of the medium with this key; None if the medium is not embedded.

        For a new key, `factory` creates the medium. For a known key, the same result is returned again.

        A medium is not embedded if `factory` is None, if its file cannot be used, or if it does not fit into the
        budget. As soon as one medium does not fit, no more media are created: those with new keys count as left out.
        """
        if key not in self._by_key:
            self._by_key[key] = None if factory is None else self._embed(factory)
        return self._by_key[key]

    def _embed(self, factory: MediumFactory) -> int | None:
        if self.left_out:
            self.left_out += 1
            return None
        try:
            medium = factory()
        except InputError as error:
            self.unreadable.append(str(error))
            return None
        uri = f"data:{medium.type};base64,{base64.b64encode(medium.data).decode('ascii')}"
        if uri in self._by_uri:
            return self._by_uri[uri]
        num_bytes = len(uri) + 3  # with quotes and comma in the JSON list
        if self.num_bytes + num_bytes > self.budget:
            self.left_out += 1
            return None
        self.num_bytes += num_bytes
        self.uris.append(uri)
        return self._by_uri.setdefault(uri, len(self.uris) - 1)
