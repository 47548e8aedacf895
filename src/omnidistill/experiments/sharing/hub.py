"""Sets on the Hugging Face hub, as data sets: OWNER/NAME.

    README.md        the card
    manifest.json, tensors-....safetensors      the set, as it is on disk
    provenance.json  where the set comes from, if that is stored next to it
    rows.parquet     the same rows for other tools
    heads/...        where students start, of a run

Pulled are the set and the heads, at one commit: JSON and safetensors only, checked by their sums, put in place when all
is there. The token is the hub client's business; it is neither read nor shown here.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from omnidistill.core.errors import InputError
from omnidistill.core.optional import require
from omnidistill.distill import DistilledSet
from omnidistill.distill.distilled_set import PROVENANCE
from omnidistill.evaluation.run_scores import RunScores
from omnidistill.experiments.run import open_run
from omnidistill.experiments.run_page import SCORES
from omnidistill.experiments.sharing.card import card
from omnidistill.experiments.sharing.export import parquet_bytes
from omnidistill.experiments.sharing.licences import Licence, licence_of
from omnidistill.io.artifacts import load_artifact, read_json, write_atomic
from omnidistill.models.heads import load_heads

_MANIFEST = "manifest.json"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TENSORS = re.compile(r"(heads/)?tensors-[0-9a-f]{12}\.safetensors")


@dataclass(frozen=True)
class Pushed:
    """What was uploaded, or would be: {path: bytes}, the card; the commit and its address, None of a dry run."""

    files: dict[str, int]
    card: str
    licence: Licence
    commit: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class Pulled:
    """A set that is there now, and the commit that it is of."""

    folder: Path
    distilled: DistilledSet
    commit: str


def push(
    source: Path, name: str, *, licence: str | None = None, private: bool = False, dry_run: bool = False
) -> Pushed:
    """Upload a set (or the set of a run, with its heads and scores) as the data set OWNER/NAME, in one commit.

    Args:
        source: a run folder, or that of a set.
        name: OWNER/NAME; made if it is not there.
        licence: SPDX of sources whose licence is not recorded.
        private: for its owner only.
        dry_run: upload nothing.

    Raises:
        InputError: no finished set, a licence that is not known or forbids it, or the hub refuses.
    """
    _check_name(name)
    content = _content(source, name, licence)
    sizes = {path: data.stat().st_size if isinstance(data, Path) else len(data) for path, data in content.files.items()}
    pushed = Pushed(sizes, content.card, content.licence)
    if dry_run:
        return pushed
    hub = require("huggingface_hub", "hub")
    with _told(name):
        api = hub.HfApi()
        api.create_repo(name, repo_type="dataset", private=private or None, exist_ok=True)
        if private and not api.dataset_info(name).private:
            raise InputError(f"{name}: is there already and public; make it private first, or choose another name")
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


def pull(reference: str, out: Path) -> Pulled:
    """Fetch OWNER/NAME or OWNER/NAME@REVISION into the folder `out`, which is not there yet or empty.

    Raises:
        InputError: no such set or revision, files that are damaged, of another kind or outside the folder; `out` is
            then as it was.
    """
    name, _, revision = reference.partition("@")
    _check_name(name)
    if os.path.lexists(out) and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out}: exists and is not empty; choose another folder")
    hub = require("huggingface_hub", "hub")
    staging = out.with_name(f".{out.name}-{secrets.token_hex(4)}")
    try:
        with _told(reference):
            api = hub.HfApi()
            info = api.dataset_info(name, revision=revision or None)
            commit = str(info.sha)
            if not _COMMIT.fullmatch(commit):
                raise InputError(f"{reference}: the hub names no commit for it")
            paths = {str(sibling.rfilename) for sibling in info.siblings or ()}
            _check_paths(reference, paths)

            def fetch(path: str) -> None:
                cache = staging / ".fetched"
                found = api.hf_hub_download(name, path, repo_type="dataset", revision=commit, cache_dir=cache)
                write_atomic(staging / path, Path(found).read_bytes())

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
        os.replace(staging, out)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Pulled(out, distilled, commit)


@dataclass(frozen=True)
class _Content:
    files: dict[str, Path | bytes]
    card: str
    licence: Licence


def _content(source: Path, name: str, said: str | None) -> _Content:
    """All files of the repository, by their paths in it."""
    scores: RunScores | None = None
    command, heads = "", None
    if (source / "run.json").is_file():
        run = open_run(source)
        distilled, place, heads = run.distilled(), source / "distilled", source / "heads"
        command = str(read_json(source / "run.json").get("command", ""))
        if (source / SCORES).exists():
            scores = RunScores.from_json(read_json(source / SCORES), str(source / SCORES))
    else:
        distilled, place = DistilledSet.load(source), source
    licence = licence_of(_provenance(distilled.provenance.to_json(), heads), said)
    text = card(name, distilled, licence, scores, command, heads is not None)
    files: dict[str, Path | bytes] = {"README.md": text.encode(), **_artifact(place, "distilled", "")}
    if heads is not None:
        files |= _artifact(heads, "heads", "heads/")
    files["rows.parquet"] = parquet_bytes(distilled)
    return _Content(files, text, licence)


def _provenance(provenance: Mapping[str, Any], heads: Path | None) -> dict[str, Any]:
    """That of the set, with the licences of heads that came with an encoder."""
    of_heads = None if heads is None else load_artifact(heads, "heads").meta.get("licences")
    if not isinstance(of_heads, Mapping):
        return dict(provenance)
    encoders = {name: {"licence": text} for name, text in of_heads.items()}
    return {**provenance, "encoders": {**encoders, **(provenance.get("encoders") or {})}}


def _artifact(folder: Path, kind: str, prefix: str) -> dict[str, Path | bytes]:
    """The files of an artifact by their paths in the repository; a sidecar of other tensors is left out."""
    artifact = load_artifact(folder, kind, sidecars=(PROVENANCE,))
    names = [_MANIFEST, *artifact.sidecars, *(file.name for file in artifact.files)]
    return {f"{prefix}{name}": folder / name for name in names}


def _tensors_of(manifest: Path) -> str:
    """The plain name of the one file that a manifest lists; that it is the right one is checked when it is loaded."""
    match read_json(manifest).get("files"):
        case [{"name": str(name)}] if _TENSORS.fullmatch(name) and "/" not in name:
            return name
    raise InputError(f"{manifest.name}: names no tensors that can be pulled; it is no set of omnidistill")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InputError(f"'{name}': not a name on the hub; give OWNER/NAME")


def _check_paths(reference: str, paths: set[str]) -> None:
    for path in sorted(paths):
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\\" in path:
            raise InputError(f"{reference}: lists '{path}', which leaves its folder; it is not pulled")
    if _MANIFEST not in paths:
        raise InputError(f"{reference}: has no {_MANIFEST}; it is no set of omnidistill")


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Errors of the hub's client, its HTTP library or the system as one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(f"{name}: the hub refuses or cannot be reached ({why})") from error
