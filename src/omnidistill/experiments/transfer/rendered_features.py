"""Read the new encoder's features of rendered media: from a dataset that `encode` wrote, or from .npy files.

Rendered media belong to the rows of a distilled set. The new encoder's features of these media replace the rows.

The result is centred by mu', the means of the new encoder's features of real items. A dataset of rendered media is
centred by its own means mu, so its features x are changed to x + mu - mu'. Features in .npy files are raw, and go
through all preprocessing steps.
"""

from __future__ import annotations

from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.data.recentre import recentred
from omnidistill.data.sources import read_npy
from omnidistill.data.store import load_features
from omnidistill.distillation.item_mixture import named
from omnidistill.experiments.transfer.shared_items import require_modalities


def rendered_features(folder: Path, size: int, new: FeatureSet) -> dict[str, Float[Tensor, "N _"]]:
    """Return features of rendered media, preprocessed like the data of the new encoder.

    Args:
        folder: a dataset that `encode` or `pack` wrote, or a folder with one file MODALITY.npy per modality. Row i
            has the features of the medium that was rendered from row i of the distilled set.
        size: number of rows of the distilled set.
        new: data of the new encoder.

    Raises:
        InputError: the folder or a file is missing, has the wrong number of rows or the wrong widths, or its values
            cannot be used; or the dataset lacks a modality of `new`, has a pairing matrix, or was standardised or
            centred with other options than `new`.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder; run 'omnidistill encode' on the items.csv that 'omnidistill render' wrote, and "
            "pass the output folder of 'encode'"
        )
    if (folder / "manifest.json").is_file():
        return _of_dataset(folder, size, new)
    raw = {name: _of_file(folder / f"{name}.npy", size, width, new) for name, width in new.widths.items()}
    return new.preprocessing.apply(raw)


def _of_dataset(folder: Path, size: int, new: FeatureSet) -> dict[str, Float[Tensor, "N _"]]:
    given = require_modalities(load_features(folder).at(str(folder)), new.modalities)
    if len(given) != size:
        raise InputError(
            f"{folder}: contains {len(given)} rows, but the set has {size}; render all rows of the set "
            f"('omnidistill render' with --rows {size}) and encode all of them"
        )
    if given.widths != new.widths:
        widths = (", ".join(f"{name} {p}" for name, p in each.widths.items()) for each in (given, new))
        raise InputError(
            f"{folder}: has the feature widths {next(widths)}, but {named(new)} has {next(widths)}; encode the "
            f"rendered media with the encoders of {named(new)}"
        )
    own, other = given.preprocessing, new.preprocessing
    if not own.same_options(other):
        raise InputError(
            f"{folder}: its preprocessing differs from that of {named(new)} in {own.difference(other)}; encode the "
            f"rendered media again, with the same --no-standardise and --no-centre options as {named(new)}"
        )
    return recentred(given, other, new.widths).to(new.device).features


def _of_file(path: Path, size: int, width: int, new: FeatureSet) -> Float[Tensor, "N p"]:
    if not path.is_file():
        raise InputError(
            f"{path}: no such file; pass the folder that 'omnidistill encode' wrote for the rendered media, or write "
            "their features to one file MODALITY.npy per modality"
        )
    features = read_npy(path)
    if features.shape != (size, width):
        raise InputError(
            f"{path}: has shape {tuple(features.shape)}, expected ({size}, {width}); encode the media of all rows of "
            f"the set with the encoder of {named(new)}"
        )
    features = features.float().to(new.device)
    if not bool(features.isfinite().all()):
        raise InputError(f"{path}: contains NaN or Inf; encode the rendered media again")
    return features
