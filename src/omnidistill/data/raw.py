"""Raw features as encoders return them: of any float type, not preprocessed, with one row per instance and modality."""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import Num
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.core.json_value import Json


@dataclass(frozen=True, eq=False)
class RawFeatures:
    """N paired instances with M modalities, before standardising and centring (see `data.featureset.prepare`).

    Attributes:
        features: {modality: N x width} in float16, bfloat16, float32 or float64, as the encoders return them. Whole
            numbers become float32.
        ids: one unique name per row.
        groups: group of each row. Rows in the same group are positives of each other.
        splits: split of each row, one of `data.names.SPLITS`.
        provenance: where the rows come from, as JSON values.
        captions: {modality: N texts} for display; may be empty.

    Raises:
        InputError: the attributes have different numbers of rows. The other conditions are checked when a `FeatureSet`
            is created from them.
    """

    features: dict[str, Num[Tensor, "_ _"]]
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    splits: tuple[str, ...]
    provenance: dict[str, Json]
    captions: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.features:
            raise InputError(
                "features: the dict is empty; pass an array of shape (rows, width) for at least two modalities"
            )
        floats = {name: x if x.is_floating_point() else x.float() for name, x in self.features.items()}
        object.__setattr__(self, "features", floats)
        rows = len(self.ids)
        counts = {f"modality {name!r}": tensor.shape[0] for name, tensor in self.features.items()}
        counts |= {"groups": len(self.groups), "splits": len(self.splits)}
        counts |= {f"captions of {name!r}": len(texts) for name, texts in self.captions.items()}
        for what, count in counts.items():
            if count != rows:
                raise InputError(
                    f"{what}: {count} rows, but there are {rows} ids; pass one row per id, in the same order"
                )
