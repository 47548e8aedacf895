"""A set goes to the hub and comes back, by the hub's own client and a stand-in of its server."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from omnidistill.core.errors import InputError
from omnidistill.distillation import DistilledSet, Provenance
from omnidistill.experiments.sharing import pull, push
from omnidistill.io.artifacts import load_artifact
from omnidistill.models.heads import load_heads
from sharing_problems import Hub, client_constants, serving, small_run, small_set
from small_runs import cli, contents

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
NAME, TOKEN = "someone/small-set", "hf_secretsecretsecret"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The stand-in, as the client's only hub; files by plain HTTP, as where its transfer library is missing."""
    from huggingface_hub import constants

    with serving() as running:
        for name, value in client_constants(running.address).items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        look_up = socket.getaddrinfo

        def local_only(host: Any, *arguments: Any, **named: Any) -> Any:
            assert host in ("127.0.0.1", b"127.0.0.1"), f"{host}: another host was asked for"
            return look_up(host, *arguments, **named)

        monkeypatch.setattr(socket, "getaddrinfo", local_only)
        yield running


def files_of(hub: Hub) -> dict[str, bytes]:
    return {path: data for path, data in hub.repositories[NAME].commits[-1][1].items() if path != ".gitattributes"}


def test_a_run_is_pushed_as_it_is_and_pulled_the_same(hub: Hub, tmp_path: Path) -> None:
    run = small_run(tmp_path / "RUN")
    pushed = push(run, NAME)
    on_disk = contents(run / "distilled") | {f"heads/{path}": data for path, data in contents(run / "heads").items()}
    files = files_of(hub)
    assert "provenance.json" in on_disk
    assert {path: files[path] for path in on_disk} == on_disk
    assert set(files) == {*on_disk, "README.md", "rows.parquet"}
    assert pushed.files == {path: len(data) for path, data in files.items()}
    assert pushed.commit == hub.repositories[NAME].commits[-1][0]
    assert files["README.md"].decode() == pushed.card

    pulled = pull(NAME, tmp_path / "SET")
    assert pulled.commit == pushed.commit
    assert contents(tmp_path / "SET") == {path: data for path, data in files.items() if path != "rows.parquet"}
    expected = DistilledSet.load(run / "distilled")
    for name, rows in pulled.distilled.rows().items():
        assert torch.equal(rows, expected.rows()[name])
    assert pulled.distilled.provenance == expected.provenance
    assert load_artifact(tmp_path / "SET" / "heads", "heads").meta["origin"] == "random"


def test_the_card_says_how_to_train_and_that_works(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = small_run(tmp_path / "RUN")
    card = push(run, NAME).card
    pull(NAME, tmp_path / "SET")
    monkeypatch.chdir(tmp_path)
    found: dict[str, object] = {}
    exec(compile(card.split("```python\n")[1].split("```")[0], "README.md", "exec"), found)
    distilled = DistilledSet.load(run / "distilled")
    widths = {name: rows.shape[1] for name, rows in distilled.rows().items()}
    expected = distilled.train(load_heads(run / "heads", widths)[0])
    trained = found["trained"]
    assert isinstance(trained, dict)
    assert all(torch.equal(trained[name], matrix) for name, matrix in expected.items())


def test_the_command_line_says_the_commit_and_never_the_token(hub: Hub, tmp_path: Path) -> None:
    up = cli("push", small_run(tmp_path / "RUN"), NAME)
    down = cli("pull", NAME, "-o", tmp_path / "SET")
    assert (up.code, down.code) == (0, 0), (up, down)
    commit = hub.repositories[NAME].commits[-1][0]
    assert f"commit  {commit}" in up.out
    assert f"pinned  {NAME}@{commit}" in down.out
    assert "licence Apache-2.0 AND CC-BY-4.0" in up.out
    assert hub.tokens >= {f"Bearer {TOKEN}"}
    assert TOKEN not in up.out + up.err + down.out + down.err
    assert all(TOKEN.encode() not in data for data in contents(tmp_path).values())


def test_a_dry_run_asks_nothing_of_the_hub(hub: Hub, tmp_path: Path) -> None:
    run = small_run(tmp_path / "RUN")
    done = cli("push", run, NAME, "--dry-run")
    assert done.code == 0, done.err
    assert hub.asked == []
    for path, size in push(run, NAME, dry_run=True).files.items():
        assert f"{size:>12,} {path}" in done.out
    assert "pretty_name" in done.out


def test_a_revision_pins_what_is_pulled(hub: Hub, tmp_path: Path) -> None:
    small_set(rows=6).save(tmp_path / "six")
    small_set(rows=4).save(tmp_path / "four")
    first = push(tmp_path / "six", NAME).commit
    second = push(tmp_path / "four", NAME).commit
    assert sum(path.endswith(".safetensors") for path in files_of(hub)) == 1, "tensors of the set before are left"
    assert len(pull(f"{NAME}@{first}", tmp_path / "A").distilled) == 6
    newest = pull(NAME, tmp_path / "B")
    assert (len(newest.distilled), newest.commit) == (4, second)


def test_a_set_without_provenance_replaces_one_that_has_it(hub: Hub, tmp_path: Path) -> None:
    """As a set that version 0.1 wrote, or one whose provenance was removed."""
    small_set(rows=6).save(tmp_path / "six")
    small_set(rows=4).save(tmp_path / "four")
    push(tmp_path / "six", NAME)
    assert "provenance.json" in files_of(hub)
    (tmp_path / "four" / "provenance.json").unlink()
    push(tmp_path / "four", NAME, licence="MIT")
    assert "provenance.json" not in files_of(hub)
    assert pull(NAME, tmp_path / "SET").distilled.provenance == Provenance()


def test_provenance_of_other_rows_is_not_shared(hub: Hub, tmp_path: Path) -> None:
    small_set(rows=6).save(tmp_path / "six")
    small_set(rows=4).save(tmp_path / "four")
    shutil.copy(tmp_path / "six" / "provenance.json", tmp_path / "four")
    push(tmp_path / "four", NAME, licence="MIT")
    assert "provenance.json" not in files_of(hub)


def test_licences_travel_with_a_set(hub: Hub, tmp_path: Path) -> None:
    """A set that was pulled is pushed again under the licences of its sources, with nothing to say about them."""
    small_set(licences={"a": "CC-BY-NC-4.0"}).save(tmp_path / "SET")
    push(tmp_path / "SET", NAME)
    pull(NAME, tmp_path / "PULLED")
    again = push(tmp_path / "PULLED", "someone/else", dry_run=True)
    assert again.licence.name == "CC-BY-NC-4.0"


def test_a_set_without_its_run_needs_heads_from_elsewhere(hub: Hub, tmp_path: Path) -> None:
    small_set().save(tmp_path / "SET")
    assert 'Path("HEADS")' in push(tmp_path / "SET", NAME).card
    assert not any(path.startswith("heads/") for path in files_of(hub))


def test_private_means_private(hub: Hub, tmp_path: Path) -> None:
    small_set().save(tmp_path / "SET")
    push(tmp_path / "SET", NAME, private=True)
    assert hub.repositories[NAME].private
    push(tmp_path / "SET", "someone/public")
    before = len(hub.repositories["someone/public"].commits)
    with pytest.raises(InputError, match="exists and is public"):
        push(tmp_path / "SET", "someone/public", private=True)
    assert len(hub.repositories["someone/public"].commits) == before


def test_a_licence_that_forbids_it_is_told_before_anything_is_sent(hub: Hub, tmp_path: Path) -> None:
    small_set(licences={"clips": "research only, no redistribution"}).save(tmp_path / "SET")
    done = cli("push", tmp_path / "SET", NAME, "--licence", "MIT")
    assert done.code == 2
    assert "does not allow redistribution" in done.err
    small_set(licences={}).save(tmp_path / "unknown")
    done = cli("push", tmp_path / "unknown", NAME)
    assert done.code == 2
    assert "--licence" in done.err
    assert hub.asked == []


@pytest.mark.parametrize("path", ["tensors", "manifest.json", "heads/manifest.json"])
def test_what_was_altered_is_not_kept(hub: Hub, tmp_path: Path, path: str) -> None:
    push(small_run(tmp_path / "RUN"), NAME)
    files = files_of(hub)
    (name,) = [name for name in files if name == path or (path == "tensors" and name.startswith("tensors-"))]
    spoilt = bytearray(files[name])
    spoilt[-20] ^= 1
    hub.repositories[NAME].commit({**files, name: bytes(spoilt)})
    with pytest.raises(InputError):
        pull(NAME, tmp_path / "SET")
    assert {entry.name for entry in tmp_path.iterdir()} == {"RUN"}


@pytest.mark.parametrize("path", ["../outside.json", "heads/../../outside.json", "/etc/outside", "a\\..\\b"])
def test_paths_that_leave_the_folder_are_refused(hub: Hub, tmp_path: Path, path: str) -> None:
    push(small_run(tmp_path / "RUN"), NAME)
    hub.repositories[NAME].commit({**files_of(hub), path: b"{}"})
    with pytest.raises(InputError, match="outside the output folder"):
        pull(NAME, tmp_path / "SET")
    assert {entry.name for entry in tmp_path.iterdir()} == {"RUN"}


@pytest.mark.parametrize("name", ["../x.safetensors", "model.pkl", "heads/tensors-0123456789ab.safetensors"])
def test_a_manifest_names_its_own_tensors_only(hub: Hub, tmp_path: Path, name: str) -> None:
    push(small_run(tmp_path / "RUN"), NAME)
    files = files_of(hub)
    manifest = json.loads(files["manifest.json"])
    manifest["files"][0]["name"] = name
    hub.repositories[NAME].commit({**files, "manifest.json": json.dumps(manifest).encode(), name: b"x"})
    with pytest.raises(InputError):
        pull(NAME, tmp_path / "SET")
    assert not any(name in asked for asked in hub.asked)


def test_only_what_a_set_is_made_of_is_fetched(hub: Hub, tmp_path: Path) -> None:
    push(small_run(tmp_path / "RUN"), NAME)
    hub.repositories[NAME].commit({**files_of(hub), "code.py": b"raise SystemExit", "weights.pkl": b"x"})
    pull(NAME, tmp_path / "SET")
    assert {path.suffix for path in (tmp_path / "SET").rglob("*") if path.is_file()} == {".json", ".safetensors", ".md"}
    assert not any("code.py" in asked or "weights.pkl" in asked for asked in hub.asked)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("someone/absent", "rejected the request or could not be reached .*"),
        (f"{NAME}@{'0' * 40}", "rejected the request or could not be reached .*"),
        ("no-owner", "pass OWNER/NAME"),
        ("../..", "pass OWNER/NAME"),
    ],
)
def test_what_is_not_there_is_one_line(hub: Hub, tmp_path: Path, reference: str, message: str) -> None:
    push(small_run(tmp_path / "RUN"), NAME)
    with pytest.raises(InputError, match=message):
        pull(reference, tmp_path / "SET")
    assert not (tmp_path / "SET").exists()


def test_another_repository_and_a_folder_in_use(hub: Hub, tmp_path: Path) -> None:
    push(small_run(tmp_path / "RUN"), NAME)
    hub.repositories[NAME].commit({"README.md": b"# something else"})
    with pytest.raises(InputError, match=r"the file manifest.json is missing"):
        pull(NAME, tmp_path / "SET")
    with pytest.raises(InputError, match="not empty"):
        pull(NAME, tmp_path / "RUN")
    with pytest.raises(InputError, match=r"RUN: not an omnidistill artifact"):
        pull(NAME, tmp_path / "RUN", force=True)


def test_force_replaces_the_set_in_the_folder(hub: Hub, tmp_path: Path) -> None:
    push(small_run(tmp_path / "RUN"), NAME)
    first = pull(NAME, tmp_path / "SET")
    (tmp_path / "SET" / "mine.txt").write_text("mine")
    (tmp_path / "SET" / "tensors-000000000000.safetensors").touch()
    push(small_run(tmp_path / "OTHER"), NAME)
    again = pull(NAME, tmp_path / "SET", force=True)
    assert again.commit != first.commit
    DistilledSet.load(tmp_path / "SET")
    assert len(list((tmp_path / "SET").glob("tensors-*"))) == 1
    assert (tmp_path / "SET" / "mine.txt").read_text() == "mine"


def test_a_hub_that_is_down_is_one_line(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    done = cli("push", small_run(tmp_path / "RUN"), NAME)
    assert done.code == 2
    assert "rejected the request or could not be reached" in done.err
    assert len(done.err.splitlines()) == 1
    assert TOKEN not in done.err
