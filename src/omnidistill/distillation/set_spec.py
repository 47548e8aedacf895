"""The specification of a distilled set: everything except tensors that is needed to load the set and train on it.

    {"schema": 1, "modalities": {NAME: p_m}, "size": N, "storage": .., "similarity": .., "objective": .., "recipe": ..,
     "preprocessing": ..}

N is the number of stored rows and p_m the feature width of modality m. The specification is stored in the set's
manifest and takes at most 1 kB. The manifest is padded with spaces, so that its length does not depend on the values in
the recipe. The size of a set in bytes is therefore known before its recipe is chosen.

The specification does not contain the settings of the run, so stored sets stay readable when a setting is renamed. The
settings are recorded in the provenance of the set.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from omnidistill.core.errors import InputError
from omnidistill.core.json_value import Json
from omnidistill.core.registry import ComponentRegistry
from omnidistill.data.preprocessing import Preprocessing
from omnidistill.models.objectives import Objective, objectives
from omnidistill.models.similarities import Similarity, similarities
from omnidistill.models.storages import Storage, storages
from omnidistill.training.recipes import Recipe, recipes

KIND = "distilled"
"""Kind of artifact of a set."""
SCHEMA = 1
_WIDEST = 10**23  # has as many characters as the longest text of a float64
_COMPONENTS: dict[str, ComponentRegistry[Any]] = {
    "storage": storages,
    "similarity": similarities,
    "objective": objectives,
    "recipe": recipes,
}


@dataclass(frozen=True)
class SetSpec:
    """How a set is stored, and how students are trained on it.

    Attributes:
        modalities: {name: feature width p_m}.
        size: number of stored rows.
        storage: how the rows are stored.
        similarity: how the target similarities are stored.
        objective: the loss with which students are trained.
        recipe: how students are trained.
        preprocessing: the preprocessing steps, as JSON. The feature means to subtract are stored as tensors.
    """

    modalities: Mapping[str, int]
    size: int
    storage: Storage
    similarity: Similarity
    objective: Objective
    recipe: Recipe
    preprocessing: Mapping[str, Json] = field(default_factory=dict)

    @property
    def padding(self) -> int:
        """Number of spaces that are appended to the set's manifest.json.

        With them, the size of this file does not depend on the values in the recipe.
        """
        recipe = self.recipe.model_dump(mode="json")
        return len(json.dumps(_widest(recipe))) - len(json.dumps(recipe))

    def with_preprocessing(self, preprocessing: Preprocessing) -> SetSpec:
        """Return a copy of the specification with these preprocessing steps."""
        return replace(self, preprocessing=preprocessing.to_meta())

    def to_json(self) -> dict[str, Any]:
        """Return the specification as a JSON object, which is stored in the set's manifest."""
        components = {name: getattr(self, name).model_dump(mode="json") for name in _COMPONENTS}
        return {
            "schema": SCHEMA,
            "modalities": dict(self.modalities),
            "size": self.size,
            **components,
            "preprocessing": dict(self.preprocessing),
        }

    @staticmethod
    def from_json(tree: Mapping[str, Any], where: str) -> SetSpec:
        """Create a specification from the result of `to_json`. Warn about each field that this version does not know.

        Raises:
            InputError: the schema is newer than this version supports; a component is not installed (the message
                names the package that provides it); or a field is malformed (the message names the file and the field).
        """
        schema = tree.get("schema")
        if not isinstance(schema, int) or schema < 1:
            raise InputError(
                f"{where}: field 'schema' is {schema!r}, but must be a positive integer; the file was altered, so "
                "restore it"
            )
        if schema > SCHEMA:
            raise InputError(
                f"{where}: the synthetic set has schema version {schema}, but this version of omnidistill reads only "
                f"versions up to {SCHEMA}; upgrade omnidistill"
            )
        expected = {"schema", "modalities", "size", "preprocessing", *_COMPONENTS}
        for name in sorted(set(tree) - expected):
            _warn(where, name)
        modalities, size, preprocessing = tree.get("modalities"), tree.get("size"), tree.get("preprocessing")
        sound = (
            isinstance(modalities, dict) and len(modalities) > 1 and all(type(p) is int for p in modalities.values())
        )
        if not sound or type(size) is not int or size < 1 or not isinstance(preprocessing, dict):
            raise InputError(
                f"{where}: field 'modalities', 'size' or 'preprocessing' is malformed; the file was altered, so "
                "restore it"
            )
        built = {name: _component(registry, tree, name, where) for name, registry in _COMPONENTS.items()}
        return SetSpec(dict(modalities or {}), size, **built, preprocessing=preprocessing)


def _component(registry: ComponentRegistry[Any], tree: Mapping[str, Any], name: str, where: str) -> Any:
    spec = tree.get(name)
    if not isinstance(spec, dict) or not isinstance(spec.get("kind"), str):
        raise InputError(f"{where}: field '{name}' is missing or malformed; the file was altered, so restore it")
    try:
        kind, package = spec["kind"], spec.get("package")
        if kind not in registry:
            raise registry.missing(kind, package if isinstance(package, str) else None)
        known = {"kind", "package", *registry.get(kind).model_fields}
        for unknown in sorted(set(spec) - known):
            _warn(where, f"{name}.{unknown}")
        return registry.build({key: value for key, value in spec.items() if key in known})
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join([name, *(str(part) for part in problem["loc"])])
        raise InputError(
            f"{where}: {place} = {json.dumps(problem.get('input'), default=str)}: {problem['msg']}; the file was "
            "altered, so restore it"
        ) from None
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _widest(value: Json) -> Json:
    """Return a copy in which every number is as long as possible when it is written as JSON.

    Every number, boolean and null is replaced by an integer with 24 digits, because the text of a float64 has at most
    24 characters.
    """
    if isinstance(value, Mapping):
        return {name: _widest(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_widest(entry) for entry in value]
    return value if isinstance(value, str) else _WIDEST


def _warn(where: str, name: str) -> None:
    message = f"{where}: field '{name}' is not known to this version of omnidistill and is ignored"
    warnings.warn(message, UserWarning, stacklevel=4)
