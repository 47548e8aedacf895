"""Export the rows of a distilled set for other tools: as Parquet, as npz, or as a folder for the `datasets` library.

    id           synthetic/0000 ...
    MODALITY     the features of this modality, as used in training: one float32 vector per row
    similarity   the target similarities of this row to all rows: one float32 vector per row
    metadata     JSON: modalities, recipe, preprocessing, settings, provenance, ids of the initial real rows

The metadata are in the schema of a Parquet file under the key "omnidistill", in a one-string array in an npz file, or
in the description of a `datasets` folder. The exported numbers are exactly those of the set.
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from omnidistill.core.errors import InputError
from omnidistill.core.json_value import Json
from omnidistill.core.optional import require
from omnidistill.distillation import DistilledSet
from omnidistill.io.artifacts import making, require_new, require_new_folder, temp_folder, write_output

METADATA = "omnidistill"
_DATASET = ("dataset_info.json", "state.json")  # in every folder that `datasets` writes


def export(distilled: DistilledSet, out: Path, *, force: bool = False) -> Path:
    """Write the rows of a set to a file or folder and return its path.

    Args:
        distilled: the distilled set.
        out: FILE.parquet, FILE.npz, or a folder for `datasets.load_from_disk`.
        force: whether to replace an existing file, or the files of an earlier export in a folder.

    Raises:
        InputError: the suffix is unknown, a required package is missing, the output exists and `force` is False, or
            the folder contains files that are not an export.
    """
    match out.suffix.lower():
        case ".parquet":
            require_new(out, force)
            write_output(out, parquet_bytes(distilled), force)
        case ".npz":
            require_new(out, force)
            write_output(out, _npz_bytes(distilled), force)
        case "":
            _save_dataset(distilled, out, force)
        case other:
            raise InputError(
                f"{out}: unknown suffix '{other}'; use .parquet, .npz, or no suffix for a folder in the format of the "
                "Hugging Face datasets library"
            )
    return out


def metadata_of(distilled: DistilledSet) -> dict[str, Json]:
    """Return the JSON metadata that is stored with the rows: what is needed to train on them, and their provenance."""
    return {
        "modalities": list(distilled.modalities),
        "recipe": distilled.recipe.model_dump(mode="json"),
        "preprocessing": {**distilled.preprocessing.to_meta(), "centred": list(distilled.preprocessing.means)},
        "config": dict(distilled.provenance.config),
        "provenance": {name: value for name, value in distilled.provenance.to_json().items() if name != "config"},
        "initial_ids": list(distilled.provenance.initial_ids),
    }


def parquet_bytes(distilled: DistilledSet) -> bytes:
    """Return the content of a Parquet file with the rows."""
    parquet = require("pyarrow.parquet", "parquet")
    file = io.BytesIO()
    parquet.write_table(_table(distilled), file, compression="zstd")
    return file.getvalue()


def _table(distilled: DistilledSet) -> Any:
    pyarrow = require("pyarrow", "parquet")
    columns = {"id": pyarrow.array(_ids(distilled))}
    for name, matrix in _matrices(distilled).items():
        columns[name] = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(matrix.ravel()), matrix.shape[1])
    return pyarrow.table(columns).replace_schema_metadata({METADATA: json.dumps(metadata_of(distilled))})


def _npz_bytes(distilled: DistilledSet) -> bytes:
    file = io.BytesIO()
    texts = {"id": np.array(_ids(distilled)), "metadata": np.array(json.dumps(metadata_of(distilled)))}
    np.savez_compressed(file, allow_pickle=False, **_matrices(distilled), **texts)
    return file.getvalue()


def _save_dataset(distilled: DistilledSet, folder: Path, force: bool) -> None:
    datasets = require("datasets", "datasets")
    require_new_folder(folder, force)
    if folder.is_dir() and any(folder.iterdir()) and not all((folder / name).is_file() for name in _DATASET):
        raise InputError(f"{folder}: contains files that are not an export; choose another folder")
    dataset = datasets.Dataset(_table(distilled).replace_schema_metadata(None))
    dataset.info.description = json.dumps(metadata_of(distilled))
    datasets.disable_progress_bars()
    with making(folder.parent), temp_folder(folder) as temp:
        try:
            dataset.save_to_disk(str(temp))
            if not folder.exists():
                os.replace(temp, folder)
                return
            for file in sorted(temp.iterdir(), key=lambda file: file.name in _DATASET):  # the rows first
                os.replace(file, folder / file.name)
        except OSError as error:
            raise InputError(
                f"{folder}: cannot be written ({error.strerror}); free disk space, or choose another folder"
            ) from error


def _matrices(distilled: DistilledSet) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    reserved = {"id", "similarity", "metadata"} & set(distilled.modalities)
    if reserved:
        raise InputError(
            f"modality '{reserved.pop()}': an export uses this name for another column; pack the data again with a "
            "different name for the modality"
        )
    rows = {**distilled.rows(), "similarity": distilled.similarity()}
    return {name: np.ascontiguousarray(matrix.float().numpy()) for name, matrix in rows.items()}


def _ids(distilled: DistilledSet) -> list[str]:
    return list(distilled.as_features().ids)
