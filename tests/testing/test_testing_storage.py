"""The contract check of storages passes correct ones and names what a broken one does wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from omnidistill.models.storages import Bits, Plain
from omnidistill.models.storages.forms import straight_through
from omnidistill.testing import check_storage


@dataclass(frozen=True)
class Factors(Plain):
    """Row = direction times length, both learned, lengths stored as float16: correct, and unlike the built-in ones."""

    def init(self, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        lengths = {name: x.norm(dim=1, keepdim=True).clamp_min(1e-6) for name, x in rows.items()}
        latent = {f"{name}/length": length.clone() for name, length in lengths.items()}
        return {**latent, **{f"{name}/direction": x / lengths[name] for name, x in rows.items()}}

    def expand(self, latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        kept = self.store(latent)
        return self.load({name: straight_through(x, kept[name].float()) for name, x in latent.items()})

    def store(self, latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: x.half() if name.endswith("length") else x for name, x in latent.items()}

    def load(self, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
        names = [name.removesuffix("/length") for name in stored if name.endswith("/length")]
        return {name: stored[f"{name}/length"].float() * stored[f"{name}/direction"] for name in names}


def test_a_storage_of_a_user_passes() -> None:
    check_storage(Factors())


@dataclass(frozen=True)
class Broken(Bits):
    """Four-bit rows with one violated requirement."""

    how: str = ""

    def init(self, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        match self.how:
            case "shares memory":
                return dict(rows)
            case "float64":
                return {name: x.double() for name, x in rows.items()}
            case "a tensor too many":
                return {**super().init(rows), "unused": torch.ones(2)}
            case "global randomness":
                torch.rand(1)
        return super().init(rows)

    def expand(self, latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        rows = super().expand({name: x for name, x in latent.items() if name != "unused"})
        match self.how:
            case "not finite":
                return {name: straight_through(latent[name], x) for name, x in self.load(self.store(latent)).items()}
            case "trains on what is not stored":
                return dict(latent)
            case "a last bit":
                return {name: x * (1 + 1e-7) for name, x in rows.items()}
            case "detached":
                return {name: x.detach() for name, x in rows.items()}
            case "a row lost":
                return {name: x[1:] for name, x in rows.items()}
            case "a view too many":
                return {name: torch.cat([x, x]) if name == "a" else x for name, x in rows.items()}
            case "too wide":
                return {name: torch.cat([x, x], 1) for name, x in rows.items()}
            case "a modality lost":
                return {name: x for name, x in rows.items() if name != "b"}
            case "in place":
                for x in latent.values():
                    x.detach().mul_(2)
        return rows

    def store(self, latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        stored = super().store({name: x for name, x in latent.items() if name != "unused"})
        match self.how:
            case "complex":
                return {name: x.to(torch.complex64) if name.endswith("step") else x for name, x in stored.items()}
            case "own randomness":
                noise = torch.Generator()
                noise.seed()
                return {name: x + torch.rand(1, generator=noise) * x.is_floating_point() for name, x in stored.items()}
        return stored

    def load(self, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
        rows = super().load(stored)
        if self.how == "not finite":
            return {name: x / x.abs().amax(1, keepdim=True) for name, x in rows.items()}
        return rows


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("shares memory", "share memory with the initial rows"),
        ("float64", "latent 'a' is torch.float64, not float32"),
        ("a tensor too many", "the gradient for latent 'unused' is missing"),
        ("trains on what is not stored", "load and expand returned different rows"),
        ("a last bit", "load and expand returned different rows"),
        ("detached", "expand is not differentiable"),
        ("a row lost", r"expand returned \[0.8\] rows per stored row"),
        ("a view too many", r"expand returned \[1.0, 2.0\] rows per stored row"),
        ("too wide", r"rows of 'a' have shape \(5, 14\), expected width 7"),
        ("a modality lost", r"expand returned \['a'\], not \['a', 'b'\]"),
        ("not finite", "a row of zeros.*rows of 'a' contain NaN or Inf"),
        ("in place", "modified latent tensors in place"),
        ("complex", "'a/step' is torch.complex64, which artifacts do not support"),
        ("own randomness", "store returned different tensors the second time"),
        ("global randomness", "used torch's global random state"),
    ],
)
def test_a_broken_storage_is_named(how: str, message: str) -> None:
    state = torch.get_rng_state()
    with pytest.raises(AssertionError, match=message):
        check_storage(Broken(4, how))
    torch.set_rng_state(state)
