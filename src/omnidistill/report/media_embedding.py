"""Media inside the page: each distinct one once, as a data URI, while a budget of bytes lasts; the rest is counted."""

from __future__ import annotations

import base64
from collections.abc import Hashable

from omnidistill.core.errors import InputError
from omnidistill.report.items import Make


class EmbeddedMedia:
    """Data URIs in the order of first use, together at most `budget` bytes.

    left_out: how many were wanted after the budget was spent. unreadable: why, for every file that cannot be used.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.uris: list[str] = []
        self.num_bytes: int = 0
        self.left_out: int = 0
        self.unreadable: list[str] = []
        self._by_key: dict[Hashable, int | None] = {}
        self._by_uri: dict[str, int] = {}

    def number(self, key: Hashable, make: Make | None) -> int | None:
        """The place of the medium of this key among `uris`, made at its first use; None where there is none or no room.
        Nothing is made once something had no room.
        """
        if key not in self._by_key:
            self._by_key[key] = None if make is None else self._embed(make)
        return self._by_key[key]

    def _embed(self, make: Make) -> int | None:
        if self.left_out:
            self.left_out += 1
            return None
        try:
            medium = make()
        except InputError as error:
            self.unreadable.append(str(error))
            return None
        uri = f"data:{medium.type};base64,{base64.b64encode(medium.data).decode('ascii')}"
        if uri in self._by_uri:
            return self._by_uri[uri]
        if self.num_bytes + len(uri) > self.budget:
            self.left_out += 1
            return None
        self.num_bytes += len(uri) + 3  # quotes and comma of the list that it stands in
        self.uris.append(uri)
        return self._by_uri.setdefault(uri, len(self.uris) - 1)
