"""Image towers of CLIP and SigLIP.

Pictures are prepared with transformers' Pillow backend, because other backends give different pixels.
"""

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
from omnidistill.encoding.encoders.encoder_registry import encoder_factory, encoders
from omnidistill.encoding.encoders.pretrained import Pretrained
from omnidistill.encoding.inversion.canvas import PixelCanvas


@dataclass(frozen=True)
class ImageTower(Pretrained):
    """Image tower. It reads pixels (3 x side x side) or, for siglip2, a grid of patches (rows x columns x values)."""

    kind: ClassVar[Kind] = "image"
    settings: ClassVar[str] = "pil"

    @property
    def width(self) -> int:
        """Width of the pooled feature."""
        return int(self.full_config.vision_config.hidden_size)

    @cached_property
    def processor(self) -> Any:
        """Image processor with the settings from preprocessor_config.json."""
        processors = require("transformers", "encoders").AutoImageProcessor
        return processors.from_pretrained(self.folder, local_files_only=True, backend="pil")

    def prepare(self, item: Item) -> Tensor:
        """Return the pixels or patches of the picture."""
        return self.pixels(picture_of(item))

    def pixels(self, picture: UInt8[Tensor, "3 height width"]) -> Tensor:
        """Return the pixels or patches of a decoded picture."""
        inputs = self.processor(images=picture.numpy(), return_tensors="pt", input_data_format="channels_first")
        values: Tensor = inputs["pixel_values"][0]
        if "spatial_shapes" not in inputs:
            return values
        rows, columns = inputs["spatial_shapes"][0].tolist()
        return values[: rows * columns].view(rows, columns, -1)

    @torch.no_grad()
    def encode(self, batch: Float[Tensor, "n _ _ _"]) -> Float[Tensor, "n 1 width"]:
        """Return the pooled features."""
        return self.features(batch).cpu()

    def features(self, batch: Float[Tensor, "n _ _ _"]) -> Float[Tensor, "n 1 width"]:
        """Return the features of `encode`, with gradients."""
        batch = batch.to(self.device)
        arguments: dict[str, Tensor] = {"pixel_values": batch}
        if self.config["model_type"] == "siglip2":
            n, rows, columns = batch.shape[:3]
            shapes = torch.tensor([[rows, columns]], device=self.device).expand(n, 2)
            mask = torch.ones(n, rows * columns, dtype=torch.int32, device=self.device)
            arguments = {"pixel_values": batch.flatten(1, 2), "pixel_attention_mask": mask, "spatial_shapes": shapes}
        pooled: Tensor = self.model.vision_model(**arguments).pooler_output
        return pooled.float().unsqueeze(1)

    def canvas(self, seconds: float) -> PixelCanvas | None:
        """Return the canvas of one image. Its pixels are the values that are optimised when the encoder is inverted.

        Return None for siglip2, which cannot be inverted because its input consists of patches instead of an image.
        """
        if self.config["model_type"] == "siglip2":
            return None
        side = self.processor.crop_size if self.processor.do_center_crop else self.processor.size
        shape = (3, int(side["height"]), int(side["width"]))
        return PixelCanvas(shape, self.processor.image_mean, self.processor.image_std, self.prepare)


@encoders.register("clip-image")
@encoder_factory("required", cites=("clip",), aliases=("clip",))
def clip_image(source: str, device: str) -> ImageTower:
    """Image tower of CLIP or MetaCLIP 2. A feature is the pooled output at the class token."""
    return ImageTower("clip", source, device)


@encoders.register("siglip-image")
@encoder_factory("required", cites=("siglip",), aliases=("siglip",))
def siglip_image(source: str, device: str) -> ImageTower:
    """Image tower of SigLIP or SigLIP 2. A feature is the attention-pooled output."""
    return ImageTower("siglip", source, device)
