"""Named random streams: random draws in one part of a run do not affect the draws in any other part.

A stream is a torch CPU generator (Mersenne Twister) seeded with sha256("<seed>:<name>"). It depends only on the seed
and the name of the stream, not on which other streams exist or in which order they were created. The global generator
of torch is not used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from jaxtyping import UInt8
from torch import Tensor

from omnidistill.core.errors import InputError


class Streams:
    """The random streams of one run. `streams["batches"]` is the generator named "batches", created on first use."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._generators: dict[str, torch.Generator] = {}

    def __getitem__(self, name: str) -> torch.Generator:
        """Return the generator with this name, always the same object, so that its state advances with each draw."""
        if name not in self._generators:
            self._generators[name] = _fresh(self.seed, name)
        return self._generators[name]

    def state(self) -> dict[str, UInt8[Tensor, " _"]]:
        """Return the seed and the state of every stream, as uint8 tensors for a checkpoint."""
        states = {f"{_STREAM}{name}": generator.get_state() for name, generator in self._generators.items()}
        return {_SEED: torch.tensor(list(str(self.seed).encode()), dtype=torch.uint8, device="cpu"), **states}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Reset every stream, in place, to the state that `state()` returned.

        A stream that `state` does not contain starts from its seed again.

        Raises:
            InputError: the state is malformed or belongs to a different seed. No stream is changed.
        """
        if (stored := _text(state.get(_SEED))) != str(self.seed):
            raise InputError(
                f"random generators: field {_SEED!r} of the checkpoint is {stored!r}, but this run has seed "
                f"{self.seed}; resume with the seed of the checkpoint"
            )
        restored = {}
        for key, value in state.items():
            if key == _SEED:
                continue
            if not key.startswith(_STREAM):
                raise InputError(
                    f"random generators: unknown field {key!r} in the checkpoint, expected {_SEED!r} and "
                    f"'{_STREAM}<name>'; the checkpoint was altered, so run the command again in another folder"
                )
            try:
                restored[key.removeprefix(_STREAM)] = torch.Generator("cpu").set_state(value)
            except (RuntimeError, TypeError) as error:
                raise InputError(
                    f"random generators: field {key!r} of the checkpoint is not the state of a generator; the "
                    "checkpoint was altered, so run the command again in another folder"
                ) from error
        for name in {**self._generators, **restored}:
            self[name].set_state(restored.get(name, _fresh(self.seed, name)).get_state())


_SEED, _STREAM = "seed", "stream."


def _fresh(seed: int, name: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest[:8], "little"))


def _text(value: Tensor | None) -> str | None:
    if value is None or value.dtype != torch.uint8 or value.ndim != 1:
        return None
    return bytes(value.tolist()).decode(errors="replace")
