"""The only room that touches disk formats: atomic, durable, checksummed, versioned. Nothing is ever unpickled.

Writing needs a POSIX system (flock, fsync of folders).
"""

from omnidistill.artifacts.files import FileRecord, read_json, write_atomic
from omnidistill.artifacts.folder import Artifact, load_artifact, save_artifact
from omnidistill.artifacts.locking import exclusive
from omnidistill.artifacts.mapping import map_file
from omnidistill.artifacts.tensors import Pieces, read_tensors, write_tensors

__all__ = [
    "Artifact",
    "FileRecord",
    "Pieces",
    "exclusive",
    "load_artifact",
    "map_file",
    "read_json",
    "read_tensors",
    "save_artifact",
    "write_atomic",
    "write_tensors",
]
