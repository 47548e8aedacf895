"""Invert encoders: optimise pictures, videos and sounds so that their features become similar to target vectors.

The optimisation takes gradient steps on the encoder's input.
"""

from omnidistill.encoding.inversion.canvas import Canvas, Invertible, PixelCanvas, canvas_of
from omnidistill.encoding.inversion.invert import InversionSettings, Inverted, batches, invert
from omnidistill.encoding.inversion.sound_canvas import SoundCanvas

__all__ = [
    "Canvas",
    "InversionSettings",
    "Inverted",
    "Invertible",
    "PixelCanvas",
    "SoundCanvas",
    "batches",
    "canvas_of",
    "invert",
]
