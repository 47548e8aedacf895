"""Sets to share, made in no time, and a stand-in of the hub that speaks what its client asks for."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

import torch

from omnidistill.distillation import DistilledSet, Provenance, SetSpec
from omnidistill.experiments.run import open_or_create_run
from omnidistill.models.heads import save_heads
from omnidistill.training.recipes import Sgd
from small_runs import features, small_config, small_heads

LICENCES = {"drawings": "Apache-2.0", "texts": "CC-BY-4.0"}


def small_set(num_modalities: int = 2, rows: int = 6, **provenance: Any) -> DistilledSet:
    """A set of random rows with a low-rank similarity, of the smoke preset."""
    data = features(num_modalities)
    generator = torch.Generator().manual_seed(0)
    tensors = {f"rows/{name}": torch.randn(rows, p, generator=generator) for name, p in data.widths.items()}
    factors = {"left": torch.randn(rows, 2, generator=generator), "right": torch.randn(rows, 2, generator=generator)}
    similar = {f"similarity/{name}": factor for name, factor in {"diagonal": torch.ones(rows), **factors}.items()}
    config = small_config("distill.similarity.rank=2", distill__size=rows)
    recipe = Sgd(step_sizes=(0.5,) * num_modalities, num_steps=4, batch_size=5)
    method = config.distill
    spec = SetSpec(data.widths, rows, method.resolved_storage, method.set_similarity, method.student, recipe)
    known = {"name": "planted", "licences": LICENCES, "data": "0" * 64, **provenance}
    origin = Provenance(config.method, config.model_dump(mode="json"), initial_ids=data.ids[:rows], **known)
    return DistilledSet({**tensors, **similar}, spec, data.preprocessing, origin)


def small_run(folder: Path, command: str = "omnidistill distill SET -o RUN", **provenance: Any) -> Path:
    """A finished run with heads, as 'distill' leaves it."""
    distilled, data = small_set(**provenance), features(2)
    config = small_config("distill.similarity.rank=2", distill__size=distilled.size)
    open_or_create_run(folder, data, config, location="SET", command=command)
    save_heads(small_heads(data), folder / "heads", {"origin": "random"})
    distilled.save(folder / "distilled")
    return folder


@dataclass
class Repository:
    """Commits of a data set, the newest last: {path: content}."""

    private: bool
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if revision == "main" and self.commits:
            return self.commits[-1]
        return next((commit for commit in self.commits if commit[0] == revision), None)

    def commit(self, files: Mapping[str, bytes]) -> str:
        name = hashlib.sha1(json.dumps([len(self.commits), sorted(files)]).encode()).hexdigest()
        self.commits.append((name, dict(files)))
        return name


@dataclass
class Hub:
    """What the stand-in holds and was asked."""

    address: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)  # large files, by sha256
    asked: list[str] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub on the loopback address, until the block ends."""
    hub = Hub()

    class Handler(_Handler):
        state = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def client_constants(address: str) -> dict[str, object]:
    """What to set in `huggingface_hub.constants`, so that the client asks only this hub, by plain HTTP."""
    from huggingface_hub import constants

    return {
        "ENDPOINT": address,
        "HUGGINGFACE_CO_URL_TEMPLATE": address + urlsplit(constants.HUGGINGFACE_CO_URL_TEMPLATE).path,
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
    }


class _Handler(BaseHTTPRequestHandler):
    """repos/create, validate-yaml, preupload, LFS batch and upload, commit, info by revision, tree, resolve."""

    state: Hub
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        path, body = self._asked()
        if path == "/api/repos/create":
            self._create(json.loads(body))
        elif path == "/api/validate-yaml":
            self._send({"errors": [], "warnings": []})
        elif found := re.fullmatch(r"/api/datasets/(.+/.+)/preupload/main", path):
            modes = [
                {"path": file["path"], "uploadMode": _mode(file["path"]), "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            self._send({"files": modes} if found[1] in self.state.repositories else {}, 200)
        elif re.fullmatch(r"/datasets/.+\.git/info/lfs/objects/batch", path):
            objects = json.loads(body)["objects"]
            self._send({"transfer": "basic", "objects": [self._upload(each["oid"], each["size"]) for each in objects]})
        elif found := re.fullmatch(r"/api/datasets/(.+/.+)/commit/main", path):
            self._commit(found[1], [json.loads(line) for line in body.splitlines()])
        else:
            self._send({"error": "not here"}, 404)

    def do_PUT(self) -> None:
        path, body = self._asked()
        self.state.stored[path.removeprefix("/upload/")] = body
        self._send({})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path, _ = self._asked()
        if found := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            self._info(found[1], found[2] or "main")
        elif found := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/tree/([^/]+)/?", path):
            self._tree(found[1], found[2])
        elif found := re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._file(*found.groups())
        else:
            self._send({"error": "not here"}, 404)

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        assert asked["type"] == "dataset"
        if name in self.state.repositories:
            self._send({"error": "exists", "url": f"{self.state.address}/datasets/{name}"}, 409)
            return
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.state.repositories[name] = Repository(private)
        self.state.repositories[name].commit({".gitattributes": b""})
        self._send({"url": f"{self.state.address}/datasets/{name}"})

    def _upload(self, oid: str, size: int) -> dict[str, Any]:
        return {
            "oid": oid,
            "size": size,
            "actions": {"upload": {"href": f"{self.state.address}/upload/{oid}", "header": {}}},
        }

    def _commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        repository = self.state.repositories[name]
        files = dict(repository.commits[-1][1])
        for line in lines:
            value = line["value"]
            match line["key"]:
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.state.stored[value["oid"]]
                    assert hashlib.sha256(files[value["path"]]).hexdigest() == value["oid"]
                case "deletedFile":
                    del files[value["path"]]
        commit = repository.commit(files)
        self._send({"commitUrl": f"{self.state.address}/datasets/{name}/commit/{commit}", "commitOid": commit})

    def _info(self, name: str, revision: str) -> None:
        repository = self.state.repositories.get(name)
        if repository is None:
            self._send({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        elif (found := repository.at(unquote(revision))) is None:
            self._send({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
        else:
            listed = [{"rfilename": path} for path in found[1]]
            self._send({"id": name, "sha": found[0], "private": repository.private, "siblings": listed})

    def _tree(self, name: str, revision: str) -> None:
        found = self.state.repositories[name].at(revision)
        assert found is not None
        self._send([{"type": "file", "path": path, "size": len(x), "oid": _oid(x)} for path, x in found[1].items()])

    def _file(self, name: str, revision: str, path: str) -> None:
        found = self.state.repositories[name].at(revision)
        assert found is not None
        if path not in found[1]:
            self._send({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
            return
        content = found[1][path]
        self._reply(content, 200, {"X-Repo-Commit": found[0], "ETag": f'"{_oid(content)}"'})

    def _asked(self) -> tuple[str, bytes]:
        path = unquote(urlsplit(self.path).path)
        self.state.asked.append(f"{self.command} {path}")
        self.state.tokens.add(self.headers.get("authorization"))
        return path, self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self._reply(json.dumps(value).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def _reply(self, content: bytes, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


def _mode(path: str) -> str:
    return "lfs" if path.endswith((".safetensors", ".parquet")) else "regular"


def _oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
