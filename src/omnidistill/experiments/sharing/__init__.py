"""Sharing: export sets for other tools (Parquet, npz, datasets), and push them to the Hugging Face Hub with a card."""

from omnidistill.experiments.sharing.export import export
from omnidistill.experiments.sharing.hub import Pulled, Pushed, pull, push

__all__ = ["Pulled", "Pushed", "export", "pull", "push"]
