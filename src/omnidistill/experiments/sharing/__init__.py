"""Sharing: a set for other tools (Parquet, npz, datasets), and on the Hugging Face hub with a card and its licence."""

from omnidistill.experiments.sharing.export import export
from omnidistill.experiments.sharing.hub import Pulled, Pushed, pull, push

__all__ = ["Pulled", "Pushed", "export", "pull", "push"]
