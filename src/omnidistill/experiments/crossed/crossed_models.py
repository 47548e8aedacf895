"""The models of a crossed table: linear heads with different initial values, and multilayer perceptrons (MLPs).

    own          the pre-trained heads that the sets are distilled for
    seed-K       heads pre-trained like `own`, but with seed K
    width-D      heads pre-trained like `own`, but with output width D
    random       random heads with the output width of `own`; random-D: with output width D
    mlp-L        an MLP with L linear layers, GELU and random weights

A trained model is a function from features to outputs, so heads and networks are scored in the same way.

Shapes: p_m feature width, d embedding width.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.evaluation.directions import RECALL_AT, Gallery, items_of, mean_recall, rank_directions
from omnidistill.models.heads import Heads

Outputs = Callable[[Mapping[str, Float[Tensor, "_ _"]]], dict[str, Float[Tensor, "_ _"]]]
"""A trained model: a function from features {modality: n x p_m} to outputs {modality: n x d}."""

_LINEAR = ("own", "seed-1", "seed-2", "width-64", "width-128", "width-512", "width-1024", "random")
_GROUPS = {"linear": _LINEAR, "mlp": ("mlp-2", "mlp-3")}
_NAME = re.compile(r"(own)|(seed|width|random|mlp)-([1-9][0-9]{0,4})|(random)")


@dataclass(frozen=True)
class Model:
    """A model before training.

    Attributes:
        name: name in tables, such as "width-128".
        kind: how the model is initialised. "any" stands for all linear heads of a width (see `any_start`). It is
            initialised with the heads `own`, reduced to this width if they are wider.
        number: the number in the name: a seed, a width or a number of layers; 0 if there is none.
    """

    name: str
    kind: Literal["own", "seed", "width", "random", "mlp", "any"]
    number: int = 0

    @staticmethod
    def parse(name: str) -> Model:
        """Create the model with this name, such as "width-128".

        Raises:
            InputError: the name is unknown.
        """
        matched = _NAME.fullmatch(name)
        if matched is None or name == "mlp-1":
            raise InputError(
                f"{argument('models')}: unknown model '{name}'; choose from own, seed-K, width-D, random, random-D and "
                "mlp-L, with a seed K >= 1, a width D >= 1 and L >= 2 layers; 'linear' selects several linear models, "
                "and 'mlp' selects mlp-2 and mlp-3"
            )
        kind = matched[1] or matched[2] or matched[4]
        return Model(name, kind, int(matched[3] or 0))  # type: ignore[arg-type]

    @staticmethod
    def any_start(width: int) -> Model:
        """Return the model that stands for all linear heads of a width (kind "any").

        It is used for recipes that do not use initial heads, and as the common untrained reference of linear models.
        """
        return Model(f"any-{width}", "any", width)

    @property
    def is_network(self) -> bool:
        """Whether the model consists of MLPs (otherwise it consists of linear heads)."""
        return self.kind == "mlp"

    @property
    def is_pretrained(self) -> bool:
        """Whether the model starts from pre-trained heads."""
        return self.kind in ("own", "seed", "width")

    def width(self, own: int) -> int:
        """Return the output width of the model.

        Args:
            own: output width of the pre-trained heads that the sets are distilled for.
        """
        return self.number if self.number and self.kind in ("width", "random", "any") else own


def expanded(names: Sequence[str]) -> tuple[Model, ...]:
    """Create the models with these names, without duplicates. "linear" and "mlp" are names of groups of models.

    Raises:
        InputError: a name is unknown.
    """
    flat = [each for name in names for each in _GROUPS.get(name, (name,))]
    return tuple(Model.parse(name) for name in dict.fromkeys(flat))


def network(
    widths: Mapping[str, int], hidden: int, layers: int, width: int, generator: torch.Generator, device: torch.device
) -> dict[str, nn.Module]:
    """Create one MLP per modality, with GELU between the layers.

    Weights and biases of a layer with k inputs are drawn from U(-1/sqrt(k), 1/sqrt(k)), as in `torch.nn.Linear`.

    Args:
        widths: {modality: feature width p_m}.
        hidden: width of the hidden layers.
        layers: number of linear layers.
        width: width of the outputs.
        generator: random number generator on the CPU.
        device: device of the networks.
    """
    networks: dict[str, nn.Module] = {}
    for name, p in widths.items():
        parts: list[nn.Module] = []
        for inputs, outputs in pairwise([p, *[hidden] * (layers - 1), width]):
            parts += [_layer(inputs, outputs, generator), nn.GELU()]
        networks[name] = nn.Sequential(*parts[:-1]).to(device)
    return networks


def outputs_of_heads(heads: Heads, bias: Mapping[str, Tensor] | None = None) -> Outputs:
    """Return the function from features to the outputs of linear heads, with an optional bias per modality."""
    return lambda features: {
        name: features[name] @ matrix.mT + (0 if bias is None else bias[name]) for name, matrix in heads.items()
    }


def outputs_of_modules(modules: Mapping[str, nn.Module]) -> Outputs:
    """Return the function from features to the outputs of torch modules. It computes no gradients."""

    def outputs(features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with torch.no_grad():
            return {name: module(features[name]) for name, module in modules.items()}

    return outputs


def recall_of(outputs: Outputs, data: FeatureSet, gallery: Gallery = "distinct") -> dict[str, float]:
    """Return {"R@K": recall in [0, 1], averaged over directions} for a trained model."""
    embeddings = {name: nn.functional.normalize(output, dim=-1) for name, output in outputs(data.features).items()}
    rankings = rank_directions(embeddings, data.group_codes, items_of(data, gallery), all_positives=False)
    return {f"R@{k}": recall for k, recall in mean_recall(rankings, RECALL_AT).items()}


def validation_score_of(outputs: Outputs, validation: FeatureSet) -> float:
    """Return the validation score of a trained model: the mean of R@1, R@5 and R@10 over all directions."""
    recall = recall_of(outputs, validation)
    return round(sum(recall.values()) / len(recall), 12)


def _layer(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")  # draws no random numbers
    with torch.no_grad():
        for parameter in (layer.weight, layer.bias):
            parameter.uniform_(-(inputs**-0.5), inputs**-0.5, generator=generator)
    return layer
