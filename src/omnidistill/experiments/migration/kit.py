"""The migration kit: paired rows from which the maps between two embedding spaces are computed.

R (N x p) are learned rows in the old space, and Q (N x q) are learned rows in the new space. Row i of R is paired with
row i of Q. a and b are the means of the old and the new embeddings. lambda and lambda' are learned ridges, s is the
mean of the diagonal of R R^T, and s' that of Q Q^T. Ridge regression gives the maps for an old embedding x and a new
embedding y:

    forward    y = b + (x - a) R^T (R R^T + lambda s I)^-1 Q
    reverse    x = a + (y - b) Q^T (Q Q^T + lambda' s' I)^-1 R

If all embeddings of a space have length 1, embeddings that are mapped to it are scaled to length 1.

A kit consists of two files. The manifest contains the widths, the number of rows and the storage format. The tensor
file contains the stored rows, the means and the two ridges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError
from omnidistill.data.embedding_rows import Embeddings, open_embeddings
from omnidistill.data.preprocessing import Preprocessing
from omnidistill.distillation.pair_learning import Frame, Maps, PairRows, row_maps
from omnidistill.experiments.migration.apply_map import AppliedFile, apply_to_file, apply_to_rows
from omnidistill.io.artifacts import (
    Artifact,
    artifact_bytes,
    load_artifact,
    require_new,
    require_new_folder,
    save_artifact,
)
from omnidistill.models.affine_map import AffineMap
from omnidistill.models.storages import Storage, storages

KIND = "migration kit"
SCHEMA = 1
SIDES = ("old", "new")
_ROWS, _RIDGES = "rows/", "ridges"


@dataclass(frozen=True, eq=False, repr=False)
class Kit:
    """Migration kit: maps embeddings of an old encoder to the space of a new encoder, and back.

    A kit contains N learned rows. A row is a pair of an old and a new vector. Ridge regression on the rows gives both
    maps. The function `migrate` creates kits. Most users need only the methods `load`, `apply` and `apply_file`.

    Attributes:
        widths: widths {"old": p, "new": q} of the embeddings.
        size: number N of rows.
        storage: number format in which the rows are stored.
        stored: the rows in this format.
        ridges: ridges of the forward and the reverse map.
        means: means of the old and the new embeddings.
        unit: whether all old embeddings have length 1, and whether all new embeddings do.
    """

    widths: Mapping[str, int]
    size: int
    storage: Storage
    stored: Mapping[str, Tensor]
    ridges: Float[Tensor, " 2"]
    means: Preprocessing
    unit: tuple[bool, bool]

    @staticmethod
    def load(folder: str | Path) -> Kit:
        """Load a migration kit (maps between old and new embeddings) from its folder.

        Raises:
            InputError: the folder contains no kit, or a file is damaged.
        """
        folder = Path(folder)
        return _from_artifact(load_artifact(folder, KIND), str(folder))

    def save(self, folder: str | Path, *, force: bool = False) -> None:
        """Write the migration kit (maps between old and new embeddings) to a folder.

        Args:
            folder: the folder, which is created if necessary.
            force: whether to replace a kit that is already in the folder.

        Raises:
            InputError: the folder is not empty and `force` is False, or it contains anything other than a kit.
        """
        folder = Path(folder)
        require_new_folder(folder, force)
        save_artifact(folder, KIND, self._tensors(), self._meta(), padding=0)

    def apply(self, embeddings: Embeddings, *, reverse: bool = False) -> Tensor | np.ndarray:
        """Map embeddings to the space of the new encoder, or with `reverse` to the space of the old encoder.

        The embeddings are processed in chunks. The result is in memory; `apply_file` writes it to a file instead.

        Args:
            embeddings: n vectors of the old encoder (n x p), or of the new encoder (n x q) with `reverse`. A .npy file
                is given by its Path.
            reverse: whether to map new embeddings to the old space.

        Returns:
            The mapped vectors: a tensor on the same device if the input is a tensor, otherwise an array. A float16 or
            bfloat16 input gives a result of the same type. For all other types, the result is float32.

        Raises:
            InputError: the embeddings have another width, are not numeric, or contain NaN or Inf.
        """
        rows = open_embeddings(embeddings, "embeddings")
        self.require_width(rows.name, rows.width, reverse)
        mapped = apply_to_rows(self.map(reverse=reverse), rows)
        if not isinstance(embeddings, Tensor):
            return mapped
        tensor = torch.from_numpy(mapped).to(embeddings.device)
        return tensor.to(embeddings.dtype) if embeddings.dtype == torch.bfloat16 else tensor

    def apply_file(
        self, source: str | Path, output: str | Path, *, reverse: bool = False, force: bool = False
    ) -> AppliedFile:
        """Map the embeddings in a .npy file and write the result to another .npy file.

        Memory use does not depend on the number of vectors. The output file appears only when it is complete.

        Args:
            source: .npy file with the embeddings.
            output: .npy file to write.
            reverse: whether to map new embeddings to the old space.
            force: whether to replace an existing output.

        Returns:
            The number of vectors, the size of the output, and the time.

        Raises:
            InputError: the source is not a .npy file of vectors with the expected width, or contains NaN or Inf; or the
                output exists and `force` is False, or cannot be written.
        """
        source, output = Path(source), Path(output)
        require_new(output, force)
        rows = open_embeddings(source, "source")
        self.require_width(rows.name, rows.width, reverse)
        return apply_to_file(self.map(reverse=reverse), rows, output)

    def rows(self) -> dict[str, Float[Tensor, "N _"]]:
        """Return the centred rows {"old": N x p, "new": N x q} from which the maps are computed, in float32."""
        return self._rows

    def map(self, *, reverse: bool = False) -> AffineMap:
        """Return the forward or reverse map, in float32 on the CPU."""
        return self.maps["reverse" if reverse else "forward"]

    @cached_property
    def maps(self) -> Maps:
        """The forward and the reverse map in float32, computed in float64.

        Each map is factored or dense, whichever form needs fewer operations (see `AffineMap`).
        """
        x = {name: rows.double() for name, rows in self._rows.items()}
        solved = row_maps(x["old"], x["new"], self.ridges.double(), self.frame)
        like = torch.zeros((), dtype=torch.float32, device="cpu")
        return {direction: each.to(like).fastest() for direction, each in solved.items()}

    @property
    def frame(self) -> Frame:
        """Means of the old and the new embeddings, and whether the embeddings have length 1."""
        return Frame((self.means.means["old"].double(), self.means.means["new"].double()), self.unit)

    @property
    def bytes(self) -> int:
        """Size in bytes of the files that store the maps (the migration kit)."""
        return artifact_bytes(KIND, self._tensors(), self._meta())

    def require_width(self, name: str, width: int, reverse: bool) -> None:
        """Check the width of embeddings before they are mapped.

        Raises:
            InputError: the width is not that of the old encoder (or, with `reverse`, that of the new encoder).
        """
        side, other = ("new", "old") if reverse else ("old", "new")
        if width == self.widths[side]:
            return
        change = "omit" if reverse else "use"
        hint = f"; to map embeddings of the {other} encoder, {change} {argument('reverse', True)}"
        raise InputError(
            f"{name}: the embeddings have width {width}, but the {side} encoder of this migration kit has width "
            f"{self.widths[side]}{hint if width == self.widths[other] else '; pass embeddings of this encoder'}"
        )

    def __repr__(self) -> str:
        return (
            f"Kit({self.size} rows, {self.storage.title}, old width {self.widths['old']}, new width "
            f"{self.widths['new']}, {self.bytes:,} bytes)"
        )

    @cached_property
    def _rows(self) -> dict[str, Float[Tensor, "N _"]]:
        return self.storage.load(self.stored)

    def _tensors(self) -> dict[str, Tensor]:
        return kit_tensors(self.stored, self.means, self.ridges)

    def _meta(self) -> dict[str, Any]:
        return _kit_meta(self.widths, self.size, self.storage, self.means, self.unit)


def kit_of(learned: PairRows, means: Preprocessing) -> Kit:
    """Return the migration kit (maps between old and new embeddings) that stores these learned rows, on the CPU."""
    latent = {name: x.detach().cpu() for name, x in learned.latent.items()}
    widths = {name: x.shape[1] for name, x in latent.items()}
    ridges = learned.ridges.detach().float().cpu()
    stored = learned.storage.store(latent)
    return Kit(widths, len(latent["old"]), learned.storage, stored, ridges, means, learned.frame.unit)


def planned_kit_bytes(
    widths: Mapping[str, int], size: int, storage: Storage, means: Preprocessing, unit: tuple[bool, bool]
) -> int:
    """Return the size in bytes of the files of a migration kit (maps between old and new embeddings).

    The rows of the kit need not exist yet.
    """
    ridges = torch.empty(2, device="meta")
    tensors = kit_tensors(storage.empty(widths, size), means, ridges)
    return artifact_bytes(KIND, tensors, _kit_meta(widths, size, storage, means, unit))


def kit_tensors(stored: Mapping[str, Tensor], means: Preprocessing, ridges: Tensor) -> dict[str, Tensor]:
    """Return the tensors that the files of a migration kit (maps between old and new embeddings) contain, by name."""
    return {**{f"{_ROWS}{name}": x for name, x in stored.items()}, **means.to_tensors(), _RIDGES: ridges}


def _kit_meta(
    widths: Mapping[str, int], size: int, storage: Storage, means: Preprocessing, unit: tuple[bool, bool]
) -> dict[str, Any]:
    """Return the metadata of a migration kit (maps between old and new embeddings), as stored in its manifest."""
    return {
        "schema": SCHEMA,
        "widths": dict(widths),
        "size": size,
        "storage": storage.model_dump(mode="json"),
        "unit": dict(zip(SIDES, unit, strict=True)),
        "preprocessing": means.to_meta(),
    }


def _from_artifact(artifact: Artifact, where: str) -> Kit:
    meta, tensors = artifact.meta, artifact.tensors
    try:
        if meta["schema"] != SCHEMA:
            raise InputError(
                f"{where}: the migration kit has schema version {meta['schema']!r}, but this version of omnidistill "
                f"reads version {SCHEMA}; upgrade omnidistill"
            )
        widths = {side: int(meta["widths"][side]) for side in SIDES}
        unit: tuple[bool, bool] = (bool(meta["unit"]["old"]), bool(meta["unit"]["new"]))
        means = Preprocessing.from_parts(tensors, meta["preprocessing"])
        stored = {name.removeprefix(_ROWS): x for name, x in tensors.items() if name.startswith(_ROWS)}
        kit = Kit(widths, int(meta["size"]), storages.build(meta["storage"]), stored, tensors[_RIDGES], means, unit)
        shapes = {side: tuple(x.shape) for side, x in kit.rows().items()}
        expected = {side: (kit.size, width) for side, width in widths.items()}
        sizes = {side: len(mean) for side, mean in means.means.items()}
        finite = all(bool(x.isfinite().all()) for x in (*kit.rows().values(), kit.ridges))
        if shapes != expected or sizes != widths or kit.ridges.shape != (2,) or not finite:
            raise ValueError("the rows, means or ridges do not fit the widths")
        if not bool((kit.ridges > 0).all()):
            raise ValueError("a ridge is not positive")
        assert kit.maps
        return kit
    except InputError:
        raise
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{where}: the migration kit is damaged ({reason}); copy it again from its source") from None
