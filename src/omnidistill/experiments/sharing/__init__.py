"""Sharing of distilled sets: export for other tools (Parquet, npz, `datasets`), and upload to the Hugging Face Hub.

`pull` downloads a shared set from the Hub.
"""

from omnidistill.experiments.sharing.export import export
from omnidistill.experiments.sharing.hub import Pulled, Pushed, pull, push

__all__ = ["Pulled", "Pushed", "export", "pull", "push"]
