"""The npm packages that the icons dataset is made from: licences, and how to read drawings, names and tags."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import icon_layouts
from omnidistill.core.errors import InputError
from omnidistill.io.input_files import read_json


@dataclass(frozen=True)
class Icon:
    """One drawing of a pack, with its name in the pack and its tags."""

    pack: str
    name: str
    drawing: Path
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pack:
    """A package of icons.

    Attributes:
        name: short name, which begins the ids of its items.
        package, version: npm package and the version that `results/icons.md` was made from.
        stated: the field `license` of its package.json.
        licence: SPDX identifier of the licence of the drawings, names and tags.
        phrase: words that the licence file must contain; "" if the package has no licence file.
        author: whose work it is.
        voice: arguments of espeak-ng; every pack has a voice of its own.
        read: function that lists the icons in the folder of the package.
    """

    name: str
    package: str
    version: str
    stated: str
    licence: str
    phrase: str
    author: str
    voice: tuple[str, ...]
    read: Callable[[Path], icon_layouts.Found]

    @property
    def spec(self) -> str:
        """What `npm install` takes."""
        return f"{self.package}@{self.version}"


@dataclass(frozen=True)
class Installed:
    """An installed pack: its folder, its version and its licence file (None if it has none)."""

    pack: Pack
    folder: Path
    version: str
    licence_file: Path | None

    def icons(self) -> list[Icon]:
        """Return the icons, sorted by name.

        Raises:
            InputError: a file or a field is missing, as in a version with another layout.
        """
        try:
            found = sorted(self.pack.read(self.folder), key=lambda icon: icon[0])
            icons = [Icon(self.pack.name, name, drawing, _clean(tags)) for name, drawing, tags in found]
        except (KeyError, OSError, ValueError, TypeError, AttributeError) as error:
            what = f"no field {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
            raise InputError(f"{self._where}: {what}; {self._remedy}") from error
        if not icons:
            raise InputError(f"{self._where}: no icons were found; {self._remedy}")
        return icons

    @property
    def _where(self) -> str:
        return f"{self.pack.package} {self.version}"

    @property
    def _remedy(self) -> str:
        return f"this script reads the layout of version {self.pack.version}; run: {install_command([self.pack])}"


def install_command(packs: Sequence[Pack]) -> str:
    """Return the command that installs the packs."""
    return f"npm install --ignore-scripts {' '.join(pack.spec for pack in packs)}"


def find_packs(modules: Path, packs: Sequence[Pack]) -> list[Installed]:
    """Find the packs in a folder `node_modules`, and check that their licences are the expected ones.

    Raises:
        InputError: packages are missing (the message has the command that installs them), or a licence differs.
    """
    missing = [pack for pack in packs if not (modules / pack.package / "package.json").is_file()]
    if missing:
        names = ", ".join(pack.package for pack in missing)
        raise InputError(f"{modules}: no {names}; run in the folder above it: {install_command(missing)}")
    return [_check(pack, modules / pack.package) for pack in packs]


def _check(pack: Pack, folder: Path) -> Installed:
    about = read_json(folder / "package.json")
    version, stated = str(about.get("version")), about.get("license")
    files = sorted(path for path in folder.iterdir() if path.name.lower().startswith("licen"))
    text = " ".join(files[0].read_text("utf-8").split()) if files else ""
    if stated != pack.stated or pack.phrase not in text:
        found = f"package.json states {stated!r}"
        if stated == pack.stated:
            found = f"{files[0].name} has another text" if files else "there is no licence file"
        raise InputError(
            f"{pack.package} {version}: expected the licence {pack.licence}, but {found}; "
            f"run: {install_command([pack])}"
        )
    return Installed(pack, folder, version, files[0] if files else None)


def _clean(tags: Sequence[str]) -> tuple[str, ...]:
    """Return the tags in lower case with spaces between words, without marks such as `*new*` and without repeats."""
    words = (" ".join(re.split(r"[\s_-]+", tag.lower())).strip() for tag in tags if "*" not in tag)
    return tuple(dict.fromkeys(word for word in words if word))


def _voice(name: str, speed: int, pitch: int) -> tuple[str, ...]:
    return ("-v", name, "-s", str(speed), "-p", str(pitch))


_MIT = "Permission is hereby granted, free of charge"
PACKS = (
    Pack(
        name="tabler",
        package="@tabler/icons",
        version="3.52.0",
        stated="MIT",
        licence="MIT",
        phrase=_MIT,
        author="Paweł Kuna",
        voice=_voice("en-us+m3", 175, 50),
        read=icon_layouts.tabler,
    ),
    Pack(
        name="phosphor",
        package="@phosphor-icons/core",
        version="2.1.1",
        stated="MIT",
        licence="MIT",
        phrase=_MIT,
        author="Phosphor Icons",
        voice=_voice("en-gb+f2", 160, 60),
        read=icon_layouts.phosphor,
    ),
    Pack(
        name="mdi",
        package="@mdi/svg",
        version="7.4.47",
        stated="Apache-2.0",
        licence="Apache-2.0",
        phrase="# Icons: Apache 2.0",
        author="Pictogrammers",
        voice=_voice("en-gb-scotland+m7", 150, 40),
        read=icon_layouts.mdi,
    ),
    Pack(
        name="lucide",
        package="lucide-static",
        version="1.62.0",
        stated="ISC",
        licence="ISC AND MIT",
        phrase="ISC License",
        author="Lucide Icons and Contributors; Cole Bemis (icons from Feather)",
        voice=_voice("en-us+f4", 165, 55),
        read=icon_layouts.lucide,
    ),
    Pack(
        name="fontawesome",
        package="@fortawesome/fontawesome-free",
        version="7.3.1",
        stated="(CC-BY-4.0 AND OFL-1.1 AND MIT)",
        licence="CC-BY-4.0",
        phrase="# Icons: CC BY 4.0 License",
        author="Fonticons, Inc.",
        voice=_voice("en-gb-x-rp+m1", 155, 45),
        read=icon_layouts.fontawesome,
    ),
    Pack(
        name="ionicons",
        package="ionicons",
        version="8.1.0",
        stated="MIT",
        licence="MIT",
        phrase=_MIT,
        author="Ionic",
        voice=_voice("en-us+f1", 185, 65),
        read=icon_layouts.ionicons,
    ),
    Pack(
        name="carbon",
        package="@carbon/icons",
        version="11.89.0",
        stated="Apache-2.0",
        licence="Apache-2.0",
        phrase="Apache License",
        author="IBM Corp.",
        voice=_voice("en-gb-x-gbclan+m5", 165, 35),
        read=icon_layouts.carbon,
    ),
    Pack(
        name="fluent",
        package="@fluentui/svg-icons",
        version="1.1.343",
        stated="MIT",
        licence="MIT",
        phrase="",
        author="Microsoft Corporation",
        voice=_voice("en-gb-x-gbcwmd+f3", 170, 50),
        read=icon_layouts.fluent,
    ),
    Pack(
        name="bootstrap",
        package="bootstrap-icons",
        version="1.13.2",
        stated="MIT",
        licence="MIT",
        phrase=_MIT,
        author="The Bootstrap Authors",
        voice=_voice("en-029+m4", 160, 50),
        read=icon_layouts.bootstrap,
    ),
    Pack(
        name="iconoir",
        package="iconoir",
        version="7.12.1",
        stated="MIT",
        licence="MIT",
        phrase=_MIT,
        author="Luca Burgio",
        voice=_voice("en-us-nyc+f5", 150, 55),
        read=icon_layouts.iconoir,
    ),
)
