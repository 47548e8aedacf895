"""A stand-in of the Hugging Face Hub, in a process of its own. A repository is a folder with its newest commit.

The repositories are read for every request, so a trial that renews the folder renews the hub.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import constants

from sharing_problems import Repository, client_constants, serving


class StoredRepository(Repository):
    """A repository in a folder."""

    def __init__(self, folder: Path) -> None:
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        super().__init__(private=False, commits=[(_name(files), files)])
        self._folder = folder

    def commit(self, files: Mapping[str, bytes]) -> str:
        """Replace the files of the repository, and return the name of the commit."""
        new = self._folder.with_name(f"{self._folder.name}.new")
        for path, content in files.items():
            (new / path).parent.mkdir(parents=True, exist_ok=True)
            (new / path).write_bytes(content)
        shutil.rmtree(self._folder)
        new.rename(self._folder)
        self.commits = [(_name(files), dict(files))]
        return self.commits[-1][0]


class StoredRepositories(dict[str, Repository]):
    """{OWNER/NAME: repository} for the folders below a folder."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root

    def __contains__(self, name: object) -> bool:
        return (self._root / str(name)).is_dir()

    def __getitem__(self, name: str) -> Repository:
        return StoredRepository(self._root / name)

    def __setitem__(self, name: str, repository: Repository) -> None:
        (self._root / name).mkdir(parents=True)

    def get(self, name: str, default: Repository | None = None) -> Repository | None:  # type: ignore[override]
        """Return a repository, or the default if there is none."""
        return self[name] if name in self else default  # noqa: SIM401


@contextmanager
def local_hub(root: Path) -> Iterator[None]:
    """Serve the repositories below a folder, and let the commands of this process and its forks use no other hub."""
    read, write = os.pipe()
    parent, server = os.getpid(), os.fork()
    if server == 0:
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the server prints a traceback if a client is killed
            with serving() as hub:
                hub.repositories = StoredRepositories(root)
                os.write(write, hub.address.encode())
                while os.getppid() == parent:
                    time.sleep(0.5)
        finally:
            os._exit(0)
    for name, value in client_constants(os.read(read, 100).decode()).items():
        setattr(constants, name, value)
    os.environ["HF_TOKEN"] = "hf_none"
    for handle in (read, write):
        os.close(handle)
    try:
        yield
    finally:
        os.kill(server, 9)
        os.waitpid(server, 0)


def _name(files: Mapping[str, bytes]) -> str:
    content = [(path, hashlib.sha1(data).hexdigest()) for path, data in sorted(files.items())]
    return hashlib.sha1(repr(content).encode()).hexdigest()
