"""Members of a .tar file, one after the other, with limits on what a damaged or hostile file can do.

Only regular files are read, and nothing is unpacked. A symbolic or hard link, a device, a sparse file, a name that is
absolute or contains `..`, and a member that is larger than the rest of the file are errors.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from omnidistill.core.errors import InputError
from omnidistill.core.memory import out_of_memory
from omnidistill.io.input_files import one_line, open_input

MOST_MEMBER_BYTES = 2**30
"""Maximum size of a member in bytes."""


def tar_members(path: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield the name and the content of each regular file in an uncompressed .tar file, in order.

    Raises:
        InputError: the file is damaged or compressed, or a member is not allowed. The message names such a member.
    """
    with open_input(path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                while (member := archive.next()) is not None:
                    archive.members.clear()  # type: ignore[attr-defined]  # or it would remember every member
                    if member.isdir():
                        continue
                    if problem := _problem(member, size):
                        raise InputError(f"{path}: member {member.name!r} {problem}")
                    content = archive.extractfile(member)
                    yield PurePosixPath(member.name), b"" if content is None else content.read()
                file.seek(archive.offset)
                if any(file.read(tarfile.BLOCKSIZE)):  # `next` takes a damaged header for the end of the archive
                    raise ValueError(f"no member starts at byte {archive.offset:,}")
        except (InputError, MemoryError):
            raise
        except (tarfile.TarError, OSError, ValueError, EOFError, RecursionError, OverflowError) as error:
            if out_of_memory(error):
                raise
            raise InputError(
                f"{path}: cannot be read as an uncompressed .tar file ({one_line(error)}); the file is damaged or "
                "compressed, so download or unpack it again"
            ) from error


def _problem(member: tarfile.TarInfo, file_size: int) -> str:
    """Return why a member is not read, and what to do about it; an empty string if the member can be read."""
    if not member.isreg() or member.issparse():
        kind = "link" if member.issym() or member.islnk() else "sparse file" if member.issparse() else "device"
        return f"is a {kind}, which is not read; write the .tar file again with regular files only"
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        return "has a name that leads out of the archive; rename it"
    if member.size > MOST_MEMBER_BYTES:
        return f"claims {member.size:,} bytes; at most {MOST_MEMBER_BYTES:,} bytes per member are read, so split it"
    if member.offset_data + member.size > file_size:
        return f"claims {member.size:,} bytes, but the .tar file ends before; it is truncated, so download it again"
    return ""
