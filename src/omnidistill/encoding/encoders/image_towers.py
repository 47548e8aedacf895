"""Image towers of CLIP and SigLIP, prepared by the Pillow backend of transformers (the other differs in its bits)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from omnidistill.core.optional import require
from omnidistill.encoding.encoders.decode import picture_of
from omnidistill.encoding.encoders.encoder import Item, Kind
from omnidistill.encoding.encoders.pretrained import Pretrained


@dataclass(frozen=True)
class ImageTower(Pretrained):
    """Pictures: 3 x side x side pixels, or rows x columns x values of patches where any aspect is taken (siglip2)."""

    kind: ClassVar[Kind] = "image"
    settings: ClassVar[str] = "pil"

    @property
    def width(self) -> int:
        """Of the pooled feature."""
        return int(self.full_config.vision_config.hidden_size)

    @cached_property
    def processor(self) -> Any:
        """Resizing, cropping and scaling, as the model's preprocessor_config.json says."""
        processors = require("transformers", "encoders").AutoImageProcessor
        return processors.from_pretrained(self.folder, local_files_only=True, backend="pil")

    def prepare(self, item: Item) -> Tensor:
        """The pixels or patches of the picture."""
        return self.pixels(picture_of(item))

    def pixels(self, picture: UInt8[Tensor, "3 height width"]) -> Tensor:
        """Those of a picture that is decoded already."""
        made = self.processor(images=picture.numpy(), return_tensors="pt", input_data_format="channels_first")
        values: Tensor = made["pixel_values"][0]
        if "spatial_shapes" not in made:
            return values
        rows, columns = made["spatial_shapes"][0].tolist()
        return values[: rows * columns].view(rows, columns, -1)

    @torch.no_grad()
    def encode(self, batch: Float[Tensor, "n _ _ _"]) -> Float[Tensor, "n 1 width"]:
        """Pooled features."""
        batch = batch.to(self.device)
        given: dict[str, Tensor] = {"pixel_values": batch}
        if self.config["model_type"] == "siglip2":
            n, rows, columns = batch.shape[:3]
            shapes = torch.tensor([[rows, columns]], device=self.device).expand(n, 2)
            mask = torch.ones(n, rows * columns, dtype=torch.int32, device=self.device)
            given = {"pixel_values": batch.flatten(1, 2), "pixel_attention_mask": mask, "spatial_shapes": shapes}
        pooled: Tensor = self.model.vision_model(**given).pooler_output
        return pooled.float().cpu().unsqueeze(1)
