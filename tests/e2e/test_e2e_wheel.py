"""The wheel installs without network or dependencies, contains the complete package, and runs the demo.

The demo is `demo --quick`: all of its stages on real data, with few steps. The complete demo takes minutes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import venv
from email.parser import HeaderParser
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
import yaml
from hatchling.builders.wheel import WheelBuilder

from snippets import ROOT

LARGEST = 25_000_000
"""Bytes that the wheel may have. Most of it is the bundled dataset."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
INSTALLATION = (ROOT / "docs" / "installation.md").read_text("utf-8")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (path,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("dist")), versions=["standard"])
    return Path(path)


def test_the_wheel_contains_the_package_and_nothing_else(wheel: Path) -> None:
    source = ROOT / "src"
    package = {
        path.relative_to(source).as_posix()
        for path in (source / "omnidistill").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with ZipFile(wheel) as archive:
        (info,) = {name.partition("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        names = {name for name in archive.namelist() if not name.startswith(f"{info}/")}
        metadata = HeaderParser().parsestr(archive.read(f"{info}/METADATA").decode())
        licences = {Path(name).name for name in archive.namelist() if name.startswith(f"{info}/licenses/")}
        data = sum(each.compress_size for each in archive.infolist() if "/data/bundled/" in each.filename)
    assert names == package
    assert "omnidistill/data/bundled/features-noto.safetensors" in names
    assert licences == {"LICENSE", "NOTICE"}
    assert metadata.get_all("Provides-Extra") == sorted(PROJECT["optional-dependencies"])
    assert wheel.stat().st_size <= LARGEST
    stated = [float(number) for number in re.findall(r"([\d.]+) MB", INSTALLATION)]
    assert stated == pytest.approx([wheel.stat().st_size / 1e6, data / 1e6], rel=0.01)


def test_the_installed_wheel_runs_the_demo(wheel: Path, tmp_path: Path) -> None:
    """In a new environment, which gets its dependencies from the environment of the tests but not this source."""
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    quiet = ("--quiet", "--disable-pip-version-check", "--no-cache-dir")
    install = (*quiet, "--no-index", "--no-deps", "--no-compile", str(wheel))
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), "install", *install], check=True)
    (packages,) = (tmp_path / "env").glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(str(Path(torch.__file__).parents[1]))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=600
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    origin = run(str(python), "-c", "import omnidistill.cli.main as main; print(main.__file__)")
    assert Path(origin.strip()) == packages / "omnidistill" / "cli" / "main.py"
    shown = run(str(python.with_name("omnidistill")), "demo", "--quick", "--device", "cpu", "-o", "demo")
    assert "anchor, 20 rows" in shown
    assert "scores of a quick demo mean nothing" in shown
    assert "| HoPA, 20 rows |" in (tmp_path / "demo" / "table.md").read_text("utf-8")
    assert "data:image/png;base64" in (tmp_path / "demo" / "report.html").read_text("utf-8")  # drawings of emoji


def test_every_extra_is_documented() -> None:
    documented = set(re.findall(r"`([a-z]+)`", INSTALLATION))
    assert set(PROJECT["optional-dependencies"]) <= documented


def test_the_citation_file_names_the_version_and_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    assert citation["authors"] == [{"name": "The omnidistill developers"}]
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])
    (paper,) = citation["references"]
    works = (ROOT / "src" / "omnidistill" / "citations" / "works.bib").read_text("utf-8")
    entry = re.search(r"@misc\{hopa,.*?\n\}", works, re.DOTALL)
    assert entry is not None
    assert f"eprint = {{{paper['identifiers'][0]['value'].removeprefix('arXiv:')}}}" in entry[0]
    assert f"title = {{{paper['title']}}}" in entry[0]
    authors = " and ".join(f"{each['family-names']}, {each['given-names']}" for each in paper["authors"])
    assert f"author = {{{authors}}}" in entry[0]
