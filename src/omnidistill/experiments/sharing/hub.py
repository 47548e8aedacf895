"""Push distilled sets to the Hugging Face Hub, as dataset repositories OWNER/NAME, and pull them from it.

    README.md                                   the card
    manifest.json, tensors-....safetensors      the set, as on disk
    provenance.json                             where the set comes from; omitted if the set has no such file
    rows.parquet                                the same rows for other tools
    heads/...                                   initial heads of students, if the source is a run

`pull` downloads the set, its heads and the card from one commit. It downloads no other files and verifies the checksums
of all tensors. The output folder appears only when all files are complete. The Hub client handles the token; this
module neither reads nor prints it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from omnidistill.core.errors import InputError
from omnidistill.core.optional import require
from omnidistill.distillation import DistilledSet
from omnidistill.distillation.set_files import PROVENANCE
from omnidistill.evaluation.run_scores import RunScores
from omnidistill.experiments.run import open_run
from omnidistill.experiments.run_page import SCORES
from omnidistill.experiments.sharing.card import card
from omnidistill.experiments.sharing.export import parquet_bytes
from omnidistill.experiments.sharing.licences import Licence, licence_of
from omnidistill.io.artifacts import (
    is_new_folder,
    load_artifact,
    making,
    move_output,
    require_new_folder,
    temp_folder,
    write_atomic,
)
from omnidistill.io.input_files import read_json
from omnidistill.models.heads import load_heads

_MANIFEST = "manifest.json"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TENSORS = re.compile(r"(heads/)?tensors-[0-9a-f]{12}\.safetensors")


@dataclass(frozen=True)
class Pushed:
    """Result of `push`.

    Attributes:
        files: size in bytes of each file in the upload, by path.
        card: text of the card.
        licence: licence of the set.
        commit: the commit; None after a dry run.
        url: URL of the commit; None after a dry run.
    """

    files: dict[str, int]
    card: str
    licence: Licence
    commit: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class Pulled:
    """Result of `pull`: the folder, the set in it, and the commit that was downloaded."""

    folder: Path
    distilled: DistilledSet
    commit: str


def push(
    source: Path, name: str, *, licence: str | None = None, private: bool = False, dry_run: bool = False
) -> Pushed:
    """Upload a distilled set to the dataset repository OWNER/NAME, in one commit.

    Args:
        source: folder of a distilled set or of a run. From a run, the initial heads and any scores are uploaded too.
        name: OWNER/NAME; the repository is created if it does not exist.
        licence: SPDX identifier of the licence of all data and encoders whose licence is not known.
        private: whether to create a private repository.
        dry_run: whether to check and prepare everything but upload nothing.

    Raises:
        InputError: the set is not finished, a licence is unknown or forbids redistribution, or the Hub rejects the
            upload.
    """
    _check_name(name)
    content = _content(source, name, licence)
    sizes = {path: data.stat().st_size if isinstance(data, Path) else len(data) for path, data in content.files.items()}
    pushed = Pushed(sizes, content.card, content.licence)
    if dry_run:
        return pushed
    hub = require("huggingface_hub", "hub")
    with _hub_errors(name):
        api = hub.HfApi()
        api.create_repo(name, repo_type="dataset", private=private or None, exist_ok=True)
        if private and not api.dataset_info(name).private:
            raise InputError(
                f"{name}: this repository exists and is public; make it private first, or choose another name"
            )
        stale = [
            path
            for path in api.list_repo_files(name, repo_type="dataset")
            if path not in content.files and (_TENSORS.fullmatch(path) or path in (f"heads/{_MANIFEST}", PROVENANCE))
        ]
        commit = api.create_commit(
            name,
            [
                *(hub.CommitOperationAdd(path, data) for path, data in content.files.items()),
                *(hub.CommitOperationDelete(path, is_folder=False) for path in stale),
            ],
            commit_message="A distilled set, by omnidistill",
            repo_type="dataset",
        )
    return Pushed(sizes, content.card, content.licence, commit.oid, commit.commit_url)


def pull(reference: str, out: Path, *, force: bool = False) -> Pulled:
    """Download a distilled set into a folder.

    Args:
        reference: OWNER/NAME or OWNER/NAME@REVISION.
        out: the output folder. It must be new or empty unless `force` is True.
        force: whether to replace a set that is already in `out`. Files that do not belong to the set stay.

    Raises:
        InputError: the set or the revision does not exist; a file is damaged or has the wrong kind; the path of a file
            in the repository leads outside `out`, such as "../file"; `out` is not empty and `force` is False; or `out`
            contains files but no set. In each of these cases, `out` stays unchanged.
    """
    name, _, revision = reference.partition("@")
    _check_name(name)
    require_new_folder(out, force)
    if not is_new_folder(out):
        DistilledSet.load(out)  # raises an error if it is anything else
    hub = require("huggingface_hub", "hub")
    with making(out.parent), temp_folder(out) as staging:
        try:
            with _hub_errors(reference):
                api = hub.HfApi()
                info = api.dataset_info(name, revision=revision or None)
                commit = str(info.sha)
                if not _COMMIT.fullmatch(commit):
                    raise InputError(f"{reference}: the Hugging Face Hub returned no valid commit hash; try again")
                paths = {str(sibling.rfilename) for sibling in info.siblings or ()}
                _check_paths(reference, paths)

                def fetch(path: str) -> None:
                    cache = staging / ".fetched"
                    file = api.hf_hub_download(name, path, repo_type="dataset", revision=commit, cache_dir=cache)
                    write_atomic(staging / path, Path(file).read_bytes())

                for part in ("", "heads/"):
                    if f"{part}{_MANIFEST}" in paths:
                        fetch(f"{part}{_MANIFEST}")
                        fetch(f"{part}{_tensors_of(staging / part / _MANIFEST)}")
                for path in (PROVENANCE, "README.md"):
                    if path in paths:
                        fetch(path)
            shutil.rmtree(staging / ".fetched", ignore_errors=True)
            distilled = DistilledSet.load(staging)
            if (staging / "heads").exists():
                load_heads(staging / "heads", {modality: rows.shape[1] for modality, rows in distilled.rows().items()})
            move_output(staging, out)
        except OSError as error:
            raise InputError(
                f"{out}: cannot be written ({error.strerror}); free disk space, or choose another folder"
            ) from error
    return Pulled(out, distilled, commit)


@dataclass(frozen=True)
class _Content:
    files: dict[str, Path | bytes]
    card: str
    licence: Licence


def _content(source: Path, name: str, fallback: str | None) -> _Content:
    """Return the content of an upload: {path in the repository: local file or bytes}, text of the card, and licence."""
    scores: RunScores | None = None
    command, heads = "", None
    if (source / "run.json").is_file():
        run = open_run(source)
        distilled, place, heads = run.distilled(), source / "distilled", source / "heads"
        command = str(read_json(source / "run.json").get("command", ""))
        if (source / SCORES).exists():
            scores = RunScores.from_file(source / SCORES)
    else:
        distilled, place = DistilledSet.load(source), source
    licence = licence_of(_provenance(distilled.provenance.to_json(), heads), fallback)
    text = card(name, distilled, licence, scores, command, heads is not None)
    files: dict[str, Path | bytes] = {"README.md": text.encode(), **_artifact(place, "distilled", "")}
    if heads is not None:
        files |= _artifact(heads, "heads", "heads/")
    files["rows.parquet"] = parquet_bytes(distilled)
    return _Content(files, text, licence)


def _provenance(provenance: Mapping[str, Any], heads: Path | None) -> dict[str, Any]:
    """Return the provenance of the set. If the heads come from encoders, add the licences of these encoders."""
    of_heads = None if heads is None else load_artifact(heads, "heads").meta.get("licences")
    if not isinstance(of_heads, Mapping):
        return dict(provenance)
    encoders = {name: {"licence": text} for name, text in of_heads.items()}
    return {**provenance, "encoders": {**encoders, **(provenance.get("encoders") or {})}}


def _artifact(folder: Path, kind: str, prefix: str) -> dict[str, Path | bytes]:
    """Return {path in the repository: file} for the files of an artifact (a manifest and its tensors).

    A provenance file is included only if it belongs to these tensors.
    """
    artifact = load_artifact(folder, kind, sidecars=(PROVENANCE,))
    names = [_MANIFEST, *artifact.sidecars, *(file.name for file in artifact.files)]
    return {f"{prefix}{name}": folder / name for name in names}


def _tensors_of(manifest: Path) -> str:
    """Return the name of the only tensor file that a manifest lists. The file is verified when the set is loaded."""
    match read_json(manifest).get("files"):
        case [{"name": str(name)}] if _TENSORS.fullmatch(name) and "/" not in name:
            return name
    raise InputError(
        f"{manifest.name}: lists no valid tensor file, so the repository contains no synthetic set of omnidistill; "
        "choose another repository"
    )


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InputError(f"'{name}': not a valid repository name on the Hugging Face Hub; pass OWNER/NAME")


def _check_paths(reference: str, paths: set[str]) -> None:
    for path in sorted(paths):
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\\" in path:
            raise InputError(
                f"{reference}: file '{path}' would be written outside the output folder, so nothing was downloaded; "
                "choose another repository"
            )
    if _MANIFEST not in paths:
        raise InputError(
            f"{reference}: this repository contains no synthetic set of omnidistill (the file {_MANIFEST} is missing); "
            "choose another repository"
        )


@contextmanager
def _hub_errors(name: str) -> Iterator[None]:
    """Convert errors from the Hub client, its HTTP library or the system to an InputError with a one-line message."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(
            f"{name}: the Hugging Face Hub rejected the request or could not be reached ({reason}); check the name, "
            "the network connection, and your access rights"
        ) from error
