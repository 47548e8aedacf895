"""Storage of feature sets: each set is one artifact of kind `features`, and is memory-mapped when it is read.

A set may be larger than memory: `prepare_raw` preprocesses the rows while they are written. The rows are ordered by
split, so that the rows of a split are a view of the file.

A set of N rows with p_m values in modality m has these tensors:

    features/MODALITY    the rows (N x p_m)
    mean/MODALITY        the mean that was subtracted (p_m), if the rows are centred
    pairing              similarity of every two rows (N x N); optional
    ids                  the ids, as a JSON list in UTF-8
    groups               the different groups in the order of first appearance, as a JSON list in UTF-8
    group_codes          for each row, its index in `groups`
    split_codes          for each row, its index in the list `splits` of the metadata

The metadata also contain modalities, preprocessing and provenance.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from omnidistill.core.json_value import Json
from omnidistill.data.featureset import FeatureSet
from omnidistill.data.prepare import fit_preprocessing, prepare_chunks
from omnidistill.data.preprocessing import Preprocessing
from omnidistill.data.raw_rows import RawRows
from omnidistill.io.artifacts import JsonContent, Pieces, load_artifact, save_artifact
from omnidistill.io.input_files import parse_json, reading

KIND = "features"


class FeaturesMeta(JsonContent):
    """Metadata of a stored feature set.

    Attributes:
        modalities: names of the modalities.
        splits: names of the splits. The tensor `split_codes` contains an index into this list for each row.
        preprocessing: the steps that were applied; see `Preprocessing.from_parts`.
        provenance: where the rows come from.
    """

    remedy: ClassVar[str] = "create the set again with 'pack' or 'encode'"

    modalities: tuple[str, ...]
    splits: tuple[str, ...]
    preprocessing: Mapping[str, Json]
    provenance: Mapping[str, Json]


def save_features(features: FeatureSet, folder: Path, provenance: Mapping[str, Json] | None = None) -> None:
    """Write a feature set to a folder.

    Args:
        features: the set.
        folder: folder of the artifact.
        provenance: entries to add to the provenance of the set.

    Raises:
        InputError: the folder cannot be written.
    """
    features = features.to("cpu")
    _save(features, features.features, folder, provenance)


def prepare_raw(
    raw: RawRows,
    standardise: bool = True,
    centre: bool = True,
    rows: Int[Tensor, " n"] | None = None,
    steps: Preprocessing | None = None,
) -> PreparedRows:
    """Validate raw rows and fit their preprocessing, which is applied when the result is saved.

    The stored rows equal the result of `data.featureset.prepare`, but they are ordered by split and never held in
    memory all at once.

    Args:
        raw: all rows; each is validated.
        standardise, centre: see `data.featureset.prepare`.
        rows: numbers of the rows to store, in increasing order; None: all rows.
        steps: steps of another set, to use instead of fitted ones.

    Raises:
        InputError: under the same conditions as in `prepare`, with one exception: a row that equals the mean of the
            train rows is only detected by `PreparedRows.save`.
    """
    steps = fit_preprocessing(raw, standardise, centre, rows, steps)
    if rows is None:
        rows = torch.arange(len(raw.ids), device="cpu")
    order = rows[_by_split([raw.splits[row] for row in rows.tolist()])]
    outline = FeatureSet(
        {name: torch.zeros(1, device="cpu").expand(len(order), width) for name, width in raw.widths.items()},
        *raw.labels(order),
        None,
        steps,
        dict(raw.provenance),
    )
    pieces = {
        name: Pieces((len(order), width), torch.float32, partial(prepare_chunks, raw, name, steps, order))
        for name, width in raw.widths.items()
    }
    return PreparedRows(outline, pieces)


@dataclass(frozen=True, eq=False)
class PreparedRows:
    """A feature set whose rows are computed while they are saved.

    Attributes:
        outline: the feature set with zeros in place of the features.
        pieces: for each modality, the shape of the rows and a function that computes them in chunks.
    """

    outline: FeatureSet
    pieces: dict[str, Pieces]

    def save(self, folder: Path) -> FeatureSet:
        """Save the feature set to `folder`, then open and return the saved set.

        Raises:
            InputError: a row equals the mean of the train rows, or the folder cannot be written.
        """
        _save(self.outline, self.pieces, folder, None)
        return load_features(folder, verify=False)


def load_features(folder: Path, verify: bool = True) -> FeatureSet:
    """Open the feature set in `folder`, with memory-mapped rows.

    Args:
        folder: folder of the artifact.
        verify: whether to check the sha256 of the file as well. This reads the complete file once.

    Raises:
        InputError: the artifact is missing, damaged, of another kind, or not a valid set.
    """
    artifact = load_artifact(folder, KIND, verify)
    tensors = artifact.tensors
    meta = FeaturesMeta.from_json(artifact.meta, str(folder / "manifest.json"))
    with reading(str(folder), FeaturesMeta.remedy):
        return FeatureSet(
            features={name: tensors[f"features/{name}"] for name in meta.modalities},
            ids=_strings(tensors["ids"]),
            groups=_named(tensors["group_codes"], _strings(tensors["groups"])),
            splits=_named(tensors["split_codes"], meta.splits),
            pairing=tensors.get("pairing"),
            preprocessing=Preprocessing.from_parts(tensors, meta.preprocessing),
            provenance=dict(meta.provenance),
        )


def _save(
    features: FeatureSet, rows: Mapping[str, Tensor | Pieces], folder: Path, provenance: Mapping[str, Json] | None
) -> None:
    tensors: dict[str, Tensor | Pieces] = {f"features/{name}": x for name, x in rows.items()}
    tensors |= features.preprocessing.to_tensors()
    splits = list(features.split_sizes)
    code = {split: number for number, split in enumerate(splits)}
    tensors |= {
        "ids": _text(features.ids),
        "groups": _text(tuple(dict.fromkeys(features.groups))),
        "group_codes": features.group_codes,
        "split_codes": torch.tensor([code[split] for split in features.splits], dtype=torch.uint8, device="cpu"),
    }
    if features.pairing is not None:
        tensors["pairing"] = features.pairing
    meta = {
        "modalities": list(features.modalities),
        "splits": splits,
        "preprocessing": features.preprocessing.to_meta(),
        "provenance": {**features.provenance, **(provenance or {})},
    }
    save_artifact(folder, KIND, tensors, meta)


def _by_split(splits: Sequence[str]) -> Int[Tensor, " n"]:
    """Return the row indices, sorted by split.

    Splits are in the order of first appearance. The order of rows within a split does not change.
    """
    code = {split: number for number, split in enumerate(dict.fromkeys(splits))}
    codes = torch.tensor([code[split] for split in splits], dtype=torch.uint8, device="cpu")
    return torch.sort(codes, stable=True).indices


def _text(strings: Sequence[str]) -> UInt8[Tensor, " bytes"]:
    return torch.frombuffer(bytearray(json.dumps(list(strings), ensure_ascii=False).encode()), dtype=torch.uint8)


def _named(codes: Tensor, names: Sequence[str]) -> tuple[str, ...]:
    """Return `names[code]` for the code of each row.

    Raises:
        ValueError: the codes are not a list of integers, or a code is negative or too large.
    """
    if codes.ndim != 1 or codes.is_floating_point() or codes.dtype == torch.bool:
        raise ValueError(f"codes of dtype {codes.dtype} and shape {tuple(codes.shape)}")
    if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < len(names):
        raise ValueError(f"codes from {int(codes.min())} to {int(codes.max())} for {len(names)} names")
    return tuple(names[code] for code in codes.tolist())


def _strings(text: Tensor) -> tuple[str, ...]:
    strings = parse_json(text.numpy().tobytes().decode())
    if not isinstance(strings, list) or not all(isinstance(string, str) for string in strings):
        raise ValueError("expected a list of strings")
    return tuple(strings)
