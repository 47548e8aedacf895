"""Sharing: export sets for other tools (Parquet, npz, `datasets`), push them to the Hugging Face Hub, and pull them."""

from omnidistill.experiments.sharing.export import export
from omnidistill.experiments.sharing.hub import Pulled, Pushed, pull, push

__all__ = ["Pulled", "Pushed", "export", "pull", "push"]
