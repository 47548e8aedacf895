"""The commands `manifest` and `recipe`."""

import pytest

from media_files import write_media
from omnidistill.cli.command_list import make_parser
from omnidistill.core.errors import InputError
from omnidistill.encoding.manifests.manifest import read_manifest


def run(*arguments):
    options = make_parser().parse_args([str(argument) for argument in arguments])
    return options.command(options)


@pytest.fixture
def folder(tmp_path):
    clips = tmp_path / "clips"
    clips.mkdir()
    write_media(clips / "a[b].mp4")
    write_media(clips / "silent.mp4", channels=0)
    for name in ("a[b]", "silent"):
        (clips / f"{name}.txt").write_text("a square moves")
    return clips


def test_a_folder_becomes_a_manifest_of_the_usable_items(folder, capsys):
    out = folder.parent / "clips.csv"
    run("manifest", folder, "-o", out)
    printed = capsys.readouterr().out
    assert "no such track" in printed
    assert "1 of 2 items can be used: " in printed
    assert f"saved  {out}" in printed
    manifest = read_manifest(out)
    assert [row.id for row in manifest.rows] == ["a[b]"]
    assert manifest.content(manifest.rows[0], "video") == folder.parent / "clips" / "a[b].mp4"

    run("manifest", folder, "--modalities", "video,text", "-o", folder / "m.jsonl")
    assert [row.id for row in read_manifest(folder / "m.jsonl").rows] == ["a[b]", "silent"]
    run("manifest", folder / "m.jsonl")  # checks the manifest and saves nothing
    assert "2 of 2 items can be used" in capsys.readouterr().out
    with pytest.raises(InputError, match="1 of 2 items cannot be used"):
        run("manifest", folder, "--missing", "fail")
    with pytest.raises(InputError, match="modalities does not apply to a manifest"):
        run("manifest", out, "--modalities", "video")


def test_a_recipe_reports_missing_videos_and_the_next_command(tmp_path, capsys):
    (tmp_path / "vggsound.csv").write_text("abc,30,dog barking,train\nabd,7,rain,test\nabe,7,rain,test\n")
    for name in ("abc_000030.mp4", "abd_000007.mp4"):
        (tmp_path / name).write_bytes(b"film")
    run("recipe", "vggsound-s", tmp_path, "-o", tmp_path / "m.csv")
    printed = capsys.readouterr().out
    assert "missing videos: 1, for example abe_000007" in printed
    assert f"next   omnidistill manifest {tmp_path / 'm.csv'} -o {tmp_path / 'm.csv'}" in printed
    assert [row.media["text"] for row in read_manifest(tmp_path / "m.csv").rows] == ["dog barking", "rain"]
