"""Members of .tar files: regular files in order, and one line for anything else."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path, PurePosixPath

import pytest

from layout_files import write_tar
from omnidistill.core.errors import InputError
from omnidistill.io import tar_members as module
from omnidistill.io.tar_members import tar_members


def test_regular_files_are_read_in_order(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        folder = tarfile.TarInfo("d")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, data in (("d/x.txt", b"one"), ("y", b"")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    assert list(tar_members(tmp_path / "a.tar")) == [(PurePosixPath("d/x.txt"), b"one"), (PurePosixPath("y"), b"")]


def special(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, **options: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    for key, value in options.items():
        setattr(member, key, value)
    return member


@pytest.mark.parametrize(
    ("member", "match"),
    [
        (
            special("a.jpg", size=10 * 10**9),
            "member 'a.jpg' claims 10,000,000,000 bytes; at most 1,073,741,824 bytes",
        ),
        (special("a.jpg", size=10**6), "claims 1,000,000 bytes, but the .tar file ends before; it is truncated"),
        (special("a.jpg", tarfile.SYMTYPE, linkname="/etc/passwd"), "is a link, which is not read"),
        (special("a.jpg", tarfile.LNKTYPE, linkname="b.jpg"), "is a link"),
        (special("a.jpg", tarfile.CHRTYPE), "is a device"),
        (special("a.jpg", tarfile.FIFOTYPE), "is a device"),
        (special("a.jpg", tarfile.GNUTYPE_SPARSE), "is a sparse file|cannot be read"),
        (special("../a.jpg"), "member '../a.jpg' has a name that leads out of the archive"),
        (special("/etc/a.jpg"), "has a name that leads out"),
    ],
)
def test_members_that_are_not_allowed(tmp_path: Path, member: tarfile.TarInfo, match: str) -> None:
    header = member.tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "a.tar").write_bytes(header + b"\0" * 1024)
    with pytest.raises(InputError, match=match) as caught:
        list(tar_members(tmp_path / "a.tar"))
    assert str(caught.value).startswith(f"{tmp_path}/a.tar: ")
    assert "\n" not in str(caught.value)


def test_files_that_are_no_tar_files(tmp_path: Path) -> None:
    write_tar(tmp_path / "good.tar", {"a.txt": b"x" * 600})
    data = (tmp_path / "good.tar").read_bytes()
    with tarfile.open(tmp_path / "packed.tar", "w:gz") as archive:
        archive.add(tmp_path / "good.tar", "a.tar")
    for name, content in (("noise.tar", b"noise" * 300), ("bad.tar", data[:700] + b"\xff" * 900), ("none.tar", b"")):
        (tmp_path / name).write_bytes(content)
    for name in ("noise.tar", "packed.tar", "none.tar", "absent.tar"):
        with pytest.raises(InputError, match=rf"{name}: cannot be read"):
            list(tar_members(tmp_path / name))
    with pytest.raises(InputError, match=r"bad\.tar: "):
        list(tar_members(tmp_path / "bad.tar"))


def test_the_limit_is_inclusive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_MEMBER_BYTES", 3)
    assert len(list(tar_members(write_tar(tmp_path / "a.tar", {"a": b"123"})))) == 1
    with pytest.raises(InputError, match="at most 3 bytes"):
        list(tar_members(write_tar(tmp_path / "b.tar", {"a": b"1234"})))
