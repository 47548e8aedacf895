"""Reading and writing of all on-disk formats: atomic, durable, checksummed and versioned. Nothing is unpickled.

Writing requires a POSIX system (flock, fsync of folders).
"""

from omnidistill.io.artifacts.artifact import Artifact, artifact_bytes, load_artifact, save_artifact
from omnidistill.io.artifacts.files import FileRecord, write_atomic
from omnidistill.io.artifacts.json_content import JsonContent
from omnidistill.io.artifacts.locks import exclusive
from omnidistill.io.artifacts.mapped_file import map_file
from omnidistill.io.artifacts.tensor_file import Pieces, read_tensors, write_tensors

__all__ = [
    "Artifact",
    "FileRecord",
    "JsonContent",
    "Pieces",
    "artifact_bytes",
    "exclusive",
    "load_artifact",
    "map_file",
    "read_tensors",
    "save_artifact",
    "write_atomic",
    "write_tensors",
]
