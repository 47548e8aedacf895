"""Reading and writing of all on-disk formats: atomic, durable, checksummed and versioned. Nothing is unpickled.

Writing requires a POSIX system (flock, fsync of folders).
"""

from omnidistill.io.artifacts.artifact import Artifact, artifact_bytes, load_artifact, save_artifact
from omnidistill.io.artifacts.files import FileRecord, create_again, making, temp_folder, write_atomic
from omnidistill.io.artifacts.json_content import JsonContent
from omnidistill.io.artifacts.locks import exclusive, in_use, unchanged
from omnidistill.io.artifacts.mapped_file import map_file
from omnidistill.io.artifacts.outputs import (
    is_new_folder,
    move_output,
    require_new,
    require_new_folder,
    write_output,
)
from omnidistill.io.artifacts.tensor_file import Pieces, read_tensors, write_tensors

__all__ = [
    "Artifact",
    "FileRecord",
    "JsonContent",
    "Pieces",
    "artifact_bytes",
    "create_again",
    "exclusive",
    "in_use",
    "is_new_folder",
    "load_artifact",
    "making",
    "map_file",
    "move_output",
    "read_tensors",
    "require_new",
    "require_new_folder",
    "save_artifact",
    "temp_folder",
    "unchanged",
    "write_atomic",
    "write_output",
    "write_tensors",
]
