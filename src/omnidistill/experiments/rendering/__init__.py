"""Rendering of a set: pictures, frames, sounds and captions whose features are close to its rows."""

from omnidistill.experiments.rendering.render import render
from omnidistill.experiments.rendering.render_result import Rendered

__all__ = ["Rendered", "render"]
