"""Files and folders that the user names as output: nothing that exists is replaced without `force`.

require_new, require_new_folder     check an output before the work starts
write_output                        write a file, and delete the temporary files of killed writers next to it
move_output                         move a complete folder to its place, or over the earlier output there
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError
from omnidistill.io.artifacts.artifact import MANIFEST, load_artifact
from omnidistill.io.artifacts.files import TENSORS, clear_temps, is_temp, write_atomic
from omnidistill.io.artifacts.locks import saving
from omnidistill.io.input_files import read_json


def require_new(path: Path, force: bool) -> None:
    """Check that an output file does not exist yet. With `force`, a regular file may exist and will be replaced.

    Raises:
        InputError: the path exists and `force` is False, or it exists and is not a regular file.
    """
    if not os.path.lexists(path):
        return
    if path.is_dir():
        raise InputError(f"{path}: is a folder, but the output must be a file; choose another path")
    if not path.is_file():
        raise InputError(f"{path}: exists and is not a regular file; choose another path")
    if not force:
        raise InputError(
            f"{path}: already exists; use {argument('force', True)} to replace it, or choose another output path"
        )


def require_new_folder(folder: Path, force: bool) -> None:
    """Check that an output folder is new; see `is_new_folder`. With `force`, it may contain any files.

    Raises:
        InputError: the folder is not new and `force` is False, or the path is a file.
    """
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise InputError(f"{folder}: is a file, but the output must be a folder; choose another path")
    if not force and not is_new_folder(folder):
        raise InputError(
            f"{folder}: is not empty; choose another folder, or use {argument('force', True)} to replace earlier "
            "output in it"
        )


def is_new_folder(folder: Path) -> bool:
    """Return whether a folder does not exist, is empty, or contains only leftovers of killed writers.

    The leftovers are lock files, temporary files and folders, and tensor files without a manifest.
    """
    if not folder.exists():
        return True
    names = [entry.name for entry in folder.iterdir() if not is_temp(entry) and entry.name != ".lock"]
    return all(re.fullmatch(TENSORS, name) for name in names)


def write_output(path: Path, data: bytes, force: bool) -> None:
    """Write a file that the user named, and delete the temporary files of killed writers in its folder.

    Raises:
        InputError: the file exists and `force` is False, or it cannot be written.
    """
    require_new(path, force)
    clear_temps(path.parent, subfolders=False)
    write_atomic(path, data)


def move_output(temporary: Path, folder: Path) -> None:
    """Move a complete output folder to its place. Files of an earlier output there are replaced; other files stay.

    An artifact is a folder with a manifest, which describes its files. Manifests are moved last, so that every artifact
    in the output is complete at any time. Call `require_new_folder` first.

    Args:
        temporary: the output, on the same disk as `folder`.
        folder: where it belongs.

    Raises:
        InputError: an artifact in the folder is damaged or of another kind than the one that would replace it, or
            another process is writing to the folder. Nothing is moved.
        OSError: a file cannot be moved.
    """
    if not os.path.lexists(folder) or not any(folder.iterdir()):
        os.replace(temporary, folder)
        return
    manifests = [path.relative_to(temporary) for path in temporary.rglob(MANIFEST)]
    for manifest in manifests:
        if os.path.lexists(folder / manifest):
            kind = read_json(temporary / manifest)["kind"]
            load_artifact((folder / manifest).parent, kind, verify=False)
    files = [path.relative_to(temporary) for path in temporary.rglob("*") if path.is_file()]
    with saving(folder):
        for file in sorted(files, key=lambda path: path.name == MANIFEST):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary / file, folder / file)
        for manifest in manifests:
            for path in (folder / manifest).parent.iterdir():
                if re.fullmatch(TENSORS, path.name) and path.relative_to(folder) not in files:
                    path.unlink()
