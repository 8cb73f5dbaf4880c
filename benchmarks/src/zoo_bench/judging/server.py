"""People as judges: a local page that asks which of several images looks more real, without saying whose they are.

    study = open_study(Path("runs/judge.sqlite"), ["made.digits", "vae.digits", "real"], n=60)
    with Server(study) as server:       # http://127.0.0.1:PORT/TOKEN/
        server.serve_forever()

The server answers on 127.0.0.1 only, below a secret of this run in the address; it refuses requests whose `Host` is
another (a name that was rebound to this machine) and answers that another page sends (`Origin`). Nothing that leaves it
names a model: pictures have numbers, and the page gets no more than their order.
"""

from __future__ import annotations

import hmac
import json
import secrets
import socketserver
import sqlite3
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from zoo_bench import templates
from zoo_bench.judging import images as judge_images
from zoo_bench.judging.questions import Array, Definition, Mode, needed, plan
from zoo_bench.judging.study import Refused, Study
from zoo_bench.progress import quiet_bar
from zoo_core.errors import ZooError

QUESTIONS = {"contrast": "Which looks more real?", "ranking": "Which look most real? Put them in order."}
MOST_BODY = 10_000  # bytes of a request
MOST_RANKED = 9  # one key a place
YEAR = 365 * 24 * 3600


def open_study(
    path: Path,
    alternatives: list[str],
    *,
    mode: Mode | None = None,
    n: int | None = None,
    per_question: int | None = None,
    grid: int | None = None,
    seed: int | None = None,
    question: str | None = None,
    data: str | None = None,
    data_dir: Path | None = None,
    device: str = "cpu",
    bar: judge_images.Bar = quiet_bar,
) -> Study:
    """The study in `path`: made where there is none; `ZooError` where there is another than is asked for.

    What is None is as it is there, or the default: 60 questions of contrast, one image each, seed 0.
    """
    if not path.exists() and not alternatives:
        raise ZooError(f"{path} does not exist; begin a study by naming what to compare: zoo judge made.digits real")
    found: list[judge_images.Wanted] = []
    if alternatives:
        found, data = judge_images.wanted(alternatives, data)
    given = {"mode": mode, "n": n, "per_question": per_question, "grid": grid, "seed": seed, "question": question}
    given |= {"data": data} if alternatives else {}
    study = Study(path) if path.exists() else None
    try:
        if study is not None and study.definition is not None:
            _check_same(study, {key: value for key, value in given.items() if value is not None}, found)
            return study
        if not found:
            raise ZooError(f"{path} holds no study yet; name what to compare: zoo judge made.digits real")
        made = _design(found, {**given, "data": data}, data_dir, device, bar)  # before a file is made
        study = study or Study(path)
        study.begin(*made)
        return study
    except BaseException:
        if study is not None:
            study.close()
        raise


def _check_same(study: Study, given: dict[str, Any], found: list[judge_images.Wanted]) -> None:
    """The study that is there must be the one that is asked for."""
    there = study.known
    differ = [
        f"{key}: {getattr(there, key)}, not {value}" for key, value in given.items() if value != getattr(there, key)
    ]
    if found and [each.name for each in found] != there.names:
        differ.insert(0, f"models: {', '.join(there.names)}, not {', '.join(each.name for each in found)}")
    for each, old in zip(found, there.alternatives):
        if each.name == old.name and (each.kind, each.content) != (old.kind, old.content):
            differ.append(f"{each.name}: other images or weights than today's")
    if differ:
        raise ZooError(
            f"{study.path} holds another study ({'; '.join(differ)}); choose another --db, or continue that one: "
            f"zoo judge --db {study.path}"
        )


def _design(
    found: list[judge_images.Wanted], given: dict[str, Any], data_dir: Path | None, device: str, bar: judge_images.Bar
) -> tuple[Definition, list[tuple[int, ...]], list[Array]]:
    """The definition of a new study, its questions, and its images."""
    mode: Mode = given["mode"] or "contrast"
    n, grid, seed = 60 if given["n"] is None else given["n"], given["grid"] or 1, given["seed"] or 0
    per_question = 2 if mode == "contrast" else given["per_question"] or min(len(found), 4)
    if mode == "contrast" and given["per_question"] not in (None, 2):
        raise ZooError("a contrast is between two; for more use --mode ranking")
    if not 2 <= per_question <= min(len(found), MOST_RANKED):
        most = min(len(found), MOST_RANKED)
        raise ZooError(f"expected 2 to {most} alternatives in a question, got {per_question}")
    groups = plan(len(found), n, per_question, seed)
    counts = needed(groups, len(found), grid)
    drawn = [
        judge_images.draw(each, count, seed=seed, data=given["data"], data_dir=data_dir, device=device, bar=bar)
        for each, count in zip(found, counts)
    ]
    definition = Definition(
        mode=mode,
        question=given["question"] or QUESTIONS[mode],
        n=n,
        per_question=per_question,
        grid=grid,
        seed=seed,
        data=given["data"],
        shape=judge_images.check_same_shape(drawn),
        alternatives=tuple(alternative for alternative, _ in drawn),
    )
    return definition, groups, [pixels for _, pixels in drawn]


class Server(ThreadingHTTPServer):
    """Serves one study on a loopback port (a free one for 0); `url` is the page's address, secret included."""

    daemon_threads = True

    def __init__(self, study: Study, port: int = 0) -> None:
        try:
            super().__init__(("127.0.0.1", port), Handler)
        except OSError as error:
            raise ZooError(f"cannot serve on 127.0.0.1:{port}: {error.strerror}; choose another --port") from error
        self.study = study
        self.token = secrets.token_urlsafe(16)
        self.port: int = self.server_address[1]
        self.hosts = (f"127.0.0.1:{self.port}", f"localhost:{self.port}")
        self.url = f"http://127.0.0.1:{self.port}/{self.token}/"
        self.page, self.policy = page(study.known)
        self.cookie = f"judge-{study.known.sha256()[:12]}"  # a port does not keep cookies apart, a name does

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer would look its own name up in the network
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no error."""


def page(definition: Definition) -> tuple[bytes, str]:
    """The page, with its style and program in it, and the policy that lets it run nothing else."""
    found = templates.html("zoo_bench.judging", "page")
    style, program = (templates.whole(found, name) for name in ("page.css", "page.js"))
    facts = {"mode": definition.mode, "question": definition.question, "k": definition.per_question}
    html = found.get_template("page.html").render(style=style, program=program, facts=templates.embedded(facts))
    policy = (
        f"default-src 'none'; script-src {templates.source(program)}; style-src {templates.source(style)}; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return html.encode(), policy


class Handler(BaseHTTPRequestHandler):
    """`GET .`, `GET state`, `GET image/ID`; `POST judge`, `POST answer`, `POST undo`, `POST leave`: JSON."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "zoo", ""
    timeout = 60

    def do_GET(self) -> None:
        path = self._inner_path()
        if path is None:
            return
        if path == "":
            self._send(200, self.server.page, "text/html; charset=utf-8", policy=self.server.policy)
        elif path == "state":
            judge = self._judge()
            self._json(200, {"judge": None} if judge is None else {"state": self.server.study.state(judge)})
        elif path.startswith("image/"):
            picture = self.server.study.image(path.removeprefix("image/"))
            if picture is None:
                self._json(404, {"error": "there is no such image"})
            else:
                self._send(200, picture, "image/png")
        else:
            self._json(404, {"error": "there is no such page"})

    def do_POST(self) -> None:
        path = self._inner_path()
        if path is None:
            return
        body = self._body()
        if body is None:
            return
        study, judge = self.server.study, self._judge()
        try:
            if path == "judge":
                name = body.get("name")
                if name is not None and not isinstance(name, str):
                    raise Refused("expected a name, or null to stay anonymous")
                judge = study.judge(name)
                self._json(200, {"state": study.state(judge)}, cookie=judge)
            elif path == "leave":
                self._json(200, {"judge": None}, cookie="")
            elif path not in ("answer", "undo"):
                self._json(404, {"error": "there is no such page"})
            elif judge is None:
                self._json(403, {"error": "say who judges first"})
            else:
                if path == "answer":
                    study.answer(judge, body.get("question"), body.get("ranks"), body.get("seconds"))
                else:
                    study.undo(judge)
                self._json(200, {"state": study.state(judge)})
        except Refused as error:
            self._json(400, {"error": str(error)})
        except sqlite3.Error as error:
            self._json(507, {"error": f"the file of answers cannot be written ({error})"})

    def _inner_path(self) -> str | None:
        """The path below the secret; None where the request was refused."""
        _, token, *rest = [*self.path.split("?")[0].split("/", 2), ""]
        origins = [f"http://{host}" for host in self.server.hosts]
        posts = self.command == "POST"
        if self.headers.get("Host") not in self.server.hosts:
            self._refuse(421, "this server answers to 127.0.0.1 only")
        elif not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self._refuse(404, "this address is of another run; open the one that zoo judge printed last")
        elif len(rest) == 1:
            self._refuse(404, "open the address with the slash at its end")
        elif posts and self.headers.get("Origin") not in origins:
            self._refuse(403, "answers are taken from this server's own page only")
        elif posts and self.headers.get_content_type() != "application/json":
            self._refuse(415, "expected JSON")
        else:
            return rest[0]
        return None

    def _refuse(self, status: int, reason: str) -> None:
        self.close_connection = True  # a body that was not read would be taken for the next request
        self._json(status, {"error": reason})

    def _body(self) -> dict[str, Any] | None:
        """The JSON object that was sent; None where the request was refused."""
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            self._refuse(411, "expected a Content-Length")
            return None
        if not 0 <= length <= MOST_BODY:
            self._refuse(413, f"expected at most {MOST_BODY} bytes")
            return None
        try:
            body = json.loads(self.rfile.read(length))
        except (ValueError, RecursionError):
            self._refuse(400, "expected JSON")
            return None
        if not isinstance(body, dict):
            self._refuse(400, "expected a JSON object")
            return None
        return body

    def _judge(self) -> str | None:
        """Who judges, by the cookie, if the study knows the judge."""
        try:
            morsel = SimpleCookie(self.headers.get("Cookie", "")).get(self.server.cookie)
        except CookieError:
            return None
        return morsel.value if morsel and self.server.study.has_judge(morsel.value) else None

    def _json(self, status: int, value: dict[str, Any], cookie: str | None = None) -> None:
        self._send(status, json.dumps(value).encode(), "application/json", cookie=cookie)

    def _send(
        self, status: int, body: bytes, kind: str, *, policy: str = "default-src 'none'", cookie: str | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "private, max-age=3600" if kind == "image/png" else "no-store")
        self.send_header("Content-Security-Policy", policy)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        if cookie is not None:
            age = YEAR if cookie else 0
            self.send_header(
                "Set-Cookie", f"{self.server.cookie}={cookie}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict"
            )
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *values: Any) -> None:
        """Nothing: the terminal belongs to whoever started the study."""
