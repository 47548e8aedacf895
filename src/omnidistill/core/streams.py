"""Named random streams: what one part of a run draws never moves what another part draws.

A stream is a torch CPU generator (Mersenne Twister) seeded from sha256("<seed>:<name>"), so it depends on the seed and
its own name only, not on which streams exist or in which order they were made. torch's global generator is left alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from jaxtyping import UInt8
from torch import Tensor

from omnidistill.core.errors import InputError


class Streams:
    """The random streams of one run: `streams["batches"]` is that name's generator, made on first use."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._generators: dict[str, torch.Generator] = {}

    def __getitem__(self, name: str) -> torch.Generator:
        """The generator of this name; the same object each time, so that drawing from it moves it on."""
        if name not in self._generators:
            self._generators[name] = _fresh(self.seed, name)
        return self._generators[name]

    def state(self) -> dict[str, UInt8[Tensor, " _"]]:
        """Seed and position of every stream, as uint8 tensors for a checkpoint."""
        states = {f"{_STREAM}{name}": generator.get_state() for name, generator in self._generators.items()}
        return {_SEED: torch.tensor(list(str(self.seed).encode()), dtype=torch.uint8), **states}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Put every stream where it was at `state()`; those made since then begin anew. Generators keep their identity.

        Raises InputError, and changes nothing, if the state is malformed or of another seed.
        """
        if (found := _text(state.get(_SEED))) != str(self.seed):
            raise InputError(f"random streams: field {_SEED!r} holds {found!r}, this run has seed {self.seed}")
        restored = {}
        for key, value in state.items():
            if key == _SEED:
                continue
            if not key.startswith(_STREAM):
                raise InputError(f"random streams: unknown field {key!r}, expected {_SEED!r} and '{_STREAM}<name>'")
            try:
                restored[key.removeprefix(_STREAM)] = torch.Generator().set_state(value)
            except (RuntimeError, TypeError) as error:
                raise InputError(f"random streams: field {key!r} is not the state of a generator") from error
        for name in {**self._generators, **restored}:
            self[name].set_state(restored.get(name, _fresh(self.seed, name)).get_state())


_SEED, _STREAM = "seed", "stream."


def _fresh(seed: int, name: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little"))


def _text(value: Tensor | None) -> str | None:
    if value is None or value.dtype != torch.uint8 or value.ndim != 1:
        return None
    return bytes(value.tolist()).decode(errors="replace")
