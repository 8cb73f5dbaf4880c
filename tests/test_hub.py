"""Weights by name from the Hub: the real client against a server on this machine; a corrupted body is refused."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import zoo_core
from zoo_core import ImageSpec, weights

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = ("config.json", "model.safetensors")


class Hub(http.server.BaseHTTPRequestHandler):
    """The few routes that a download needs. `folder` holds the repository `org/model`, `corrupt` flips a byte."""

    folder: Path
    corrupt = False

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/org/model"):
            revision = path.removeprefix("/api/models/org/model").rpartition("/")[2]
            if revision not in ("", "main", "v1", COMMIT):
                return self.send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body)
            entries = [{"rfilename": name} for name in (*FILES, "evil.pth")]
            if "/tree/" in path:
                entries = [{"type": "file", "path": name, "size": 1, "oid": "0"} for name in FILES]
                return self.send(200, json.dumps(entries).encode(), {}, body)
            info = {"id": "org/model", "sha": COMMIT, "siblings": entries, "private": False, "tags": []}
            return self.send(200, json.dumps(info).encode(), {}, body)
        name = path.rpartition("/")[2]
        if "/resolve/" not in path or not path.startswith("/org/model/") or name not in FILES:
            return self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, body)
        content = bytearray((self.folder / name).read_bytes())
        etag = hashlib.sha256(content).hexdigest()
        if self.corrupt and name == weights.TENSORS:
            content[-1] ^= 1
        return self.send(200, bytes(content), {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"'}, body)

    def send(self, status: int, content: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[type[Hub], str]]:
    model = zoo_core.create("independent_pixels", ImageSpec(channels=1, height=4, width=4, levels=3))
    folder = weights.save(model, tmp_path / "repository", "independent_pixels")
    handler = type("ThisHub", (Hub,), {"folder": folder})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield handler, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def load(name: str, endpoint: str, cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the client reads its environment when it is imported."""
    code = (
        "import sys, zoo_core\n"
        "try: print(zoo_core.load(sys.argv[1]).images)\n"
        "except zoo_core.ZooError as error: print(error); sys.exit(3)"
    )
    env = {
        **os.environ,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(cache),
    }
    env |= {"NO_PROXY": "127.0.0.1", **environment}
    return subprocess.run([sys.executable, "-c", code, name], capture_output=True, text=True, env=env, timeout=120)


def test_weights_come_from_the_hub_and_then_from_the_cache(hub: tuple[type[Hub], str], tmp_path: Path) -> None:
    _, endpoint = hub
    first = load("hf:org/model@v1", endpoint, tmp_path / "cache")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "1x4x4, 3 levels" in first.stdout
    assert not list((tmp_path / "cache").rglob("*.pth"))  # only config and tensors are fetched
    offline = load(f"hf:org/model@{COMMIT}", endpoint, tmp_path / "cache", HF_HUB_OFFLINE="1")
    assert offline.returncode == 0, offline.stdout + offline.stderr


def test_a_corrupted_download_is_refused(hub: tuple[type[Hub], str], tmp_path: Path) -> None:
    """The client itself accepts a body of the right size over plain HTTP; the sha256 in config.json does not."""
    handler, endpoint = hub
    handler.corrupt = True
    done = load("hf:org/model@v1", endpoint, tmp_path / "cache")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "truncated, tampered with or another file" in done.stdout


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf:org/nothing", "no such repository"),
        ("hf:org/model@v9", "has no revision 'v9'"),
        ("hf:org/mo del", "not a Hub repository name"),
    ],
)
def test_what_the_hub_does_not_have(hub: tuple[type[Hub], str], tmp_path: Path, name: str, message: str) -> None:
    done = load(name, hub[1], tmp_path / "cache")
    assert done.returncode == 3, done.stdout + done.stderr
    assert message in done.stdout
