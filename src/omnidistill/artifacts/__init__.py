"""The only room that touches disk formats: atomic, durable, checksummed, versioned. Nothing is ever unpickled.

Writing needs a POSIX system (flock, fsync of folders).
"""

from omnidistill.artifacts.files import FileRecord, read_json, write_atomic
from omnidistill.artifacts.folder import Artifact, load_artifact, save_artifact
from omnidistill.artifacts.locking import exclusive
from omnidistill.artifacts.tensors import read_tensors, write_tensors

__all__ = [
    "Artifact",
    "FileRecord",
    "exclusive",
    "load_artifact",
    "read_json",
    "read_tensors",
    "save_artifact",
    "write_atomic",
    "write_tensors",
]
