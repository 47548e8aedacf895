"""Read and write the files of a distilled set.

On disk, a set is a folder (an artifact of kind "distilled") with these files:

    tensors-....safetensors   stored rows, target similarities, feature means that the preprocessing subtracts
    manifest.json             the specification (`set_spec`), at most 1 kB, and a checksum; written last
    provenance.json           how the set was produced (`provenance`); not needed for training
    mixture/                  mixing matrix, if the rows are mixtures of items (`item_mixture`); not needed for training
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.data.preprocessing import Preprocessing
from omnidistill.distillation.item_mixture import Mixture
from omnidistill.distillation.provenance import Provenance
from omnidistill.distillation.set_spec import KIND, SetSpec
from omnidistill.distillation.set_tensors import check_tensors, rows_digest
from omnidistill.distillation.version_0_1 import upgraded_set
from omnidistill.io.artifacts import load_artifact, save_artifact

PROVENANCE, MIXTURE = "provenance.json", "mixture"


@dataclass(frozen=True)
class SetFiles:
    """The content of the files of a set.

    Attributes:
        tensors, spec, preprocessing, provenance, mixture: see `DistilledSet`.
        num_bytes: total size of the tensor file and the manifest.
    """

    tensors: dict[str, Tensor]
    spec: SetSpec
    preprocessing: Preprocessing
    provenance: Provenance
    mixture: Mixture | None
    num_bytes: int


def write_set(
    folder: Path,
    tensors: Mapping[str, Tensor],
    spec: SetSpec,
    preprocessing: Preprocessing,
    provenance: Provenance,
    mixture: Mixture | None,
) -> None:
    """Write the files of a set to a folder. The write is atomic and replaces a set that exists there.

    Args:
        folder: the folder.
        tensors, spec, preprocessing, provenance, mixture: see `DistilledSet`.
    """
    complete, sidecars = spec.with_preprocessing(preprocessing), {PROVENANCE: provenance.to_json()}
    content = {**tensors, **preprocessing.to_tensors()}
    save_artifact(folder, KIND, content, complete.to_json(), sidecars, complete.padding)
    if mixture is not None:
        mixture.save(folder / MIXTURE, rows_digest(tensors))


def read_set(folder: Path) -> SetFiles:
    """Read and check the files of a set. The set may come from version 0.1.

    Raises:
        InputError: the folder contains no distilled set, or the set is damaged, comes from a newer version, or needs a
            component that is not installed.
    """
    artifact = load_artifact(folder, KIND, sidecars=(PROVENANCE,))
    where, meta = f"{folder}/manifest.json", artifact.meta
    if "schema" in meta:
        spec, history = SetSpec.from_json(meta, where), artifact.sidecars.get(PROVENANCE, {})
    else:
        tree, history = upgraded_set(meta, artifact.tensors, where)
        spec = SetSpec.from_json(tree, where)
    # Copies, because matrix products of tensors at unaligned addresses in the file may round differently.
    tensors = {name: t.clone() for name, t in artifact.tensors.items() if name.startswith(("rows/", "similarity/"))}
    try:
        preprocessing = Preprocessing.from_parts(artifact.tensors, spec.preprocessing)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    provenance = Provenance.from_json(history, f"{folder}/{PROVENANCE}" if "schema" in meta else where)
    check_tensors(tensors, spec, where)
    try:
        spec.recipe.check(spec.modalities)
    except InputError as error:
        raise InputError(f"{where}: {error}; the file was altered, so restore it") from None
    mixture = Mixture.load(folder / MIXTURE, rows_digest(tensors))
    return SetFiles(tensors, spec, preprocessing, provenance, mixture, artifact.bytes)
