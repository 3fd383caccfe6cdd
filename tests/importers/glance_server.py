"""A real Glance API for tests: PyPI's `glance` on the loopback, with sqlite and a file store, no Keystone.

Who asks is told by the token of a request, `<role>:<project>`, as Keystone's middleware would tell Glance;
without such a token Glance answers 401. Run as a script, it serves a folder which `running` has filled.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from sim.inputs.imports import hidden

PASTE = f"""
[composite:glance-api]
paste.composite_factory = glance.api:root_app_factory
/: api

[composite:api]
paste.composite_factory = glance.api:pipeline_factory
default = versionnegotiation token context rootapp

[composite:rootapp]
paste.composite_factory = glance.api:root_app_factory
/: apiversions
/v2: apiv2app

[app:apiversions]
paste.app_factory = glance.api.versions:create_resource

[app:apiv2app]
paste.app_factory = glance.api.v2.router:API.factory

[filter:versionnegotiation]
paste.filter_factory = glance.api.middleware.version_negotiation:VersionNegotiationFilter.factory

[filter:token]
paste.filter_factory = {Path(__file__).stem}:token_factory

[filter:context]
paste.filter_factory = glance.api.middleware.context:ContextMiddleware.factory
"""


@dataclass(frozen=True)
class Server:
    """Glance at `url`; its files are below `folder`."""

    url: str
    folder: Path

    def ask(self, method: str, path: str, body: Any = None, token: str = "admin:ops", **headers: str) -> Any:
        """One request; `body` is sent as JSON, or as it is if it is bytes."""
        raw = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        request = urllib.request.Request(
            f"{self.url}/v2{path}",
            raw,
            {"X-Auth-Token": token, "Content-Type": kind, **headers},
            method=method,
        )
        with urllib.request.urlopen(request) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def image(self, data: bytes | None = None, token: str = "admin:ops", **fields: Any) -> str:
        """Makes an image and uploads `data`, if there is any; gives its id."""
        fields = {"disk_format": "raw", "container_format": "bare", **fields}
        image_id = self.ask("POST", "/images", fields, token)["id"]
        if data is not None:
            self.ask("PUT", f"/images/{image_id}/file", data, token)
        return str(image_id)

    def locate(self, image_id: str, *urls: str, store: str) -> None:
        """Says in Glance's database that the image's data is elsewhere: there is no Cinder to store it."""
        with closing(sqlite3.connect(self.folder / "glance.sqlite")) as database, database:
            columns = "image_id, status, value, meta_data, created_at, deleted"
            (row,) = database.execute(
                "select created_at from image_locations where image_id = ?", (image_id,)
            ).fetchall()
            database.execute("delete from image_locations where image_id = ?", (image_id,))
            database.executemany(
                f"insert into image_locations ({columns}) values (?, 'active', ?, ?, ?, 0)",
                [(image_id, url, json.dumps({"store": store}), *row) for url in urls],
            )


@contextmanager
def running(folder: Path, script: Path = Path(__file__), **options: Any) -> Iterator[Server]:
    """Starts Glance with `options` for the DEFAULT section of its configuration.

    A folder that was served before, or is served with other options, keeps its images. `script` serves it.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "staging").mkdir(exist_ok=True)
    for name in ("tasks", "locks"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "glance-api-paste.ini").write_text(PASTE)
    options = {"enabled_backends": "files:file", "enabled_import_methods": "[]", **options}
    lines = [
        "[DEFAULT]",
        f"node_staging_uri = file://{folder}/staging",
        *(f"{name} = {value}" for name, value in options.items()),
        "[glance_store]",
        "default_backend = files"
        if options["enabled_backends"]
        else f"filesystem_store_datadir = {folder}/images",
        "[files]",
        f"filesystem_store_datadir = {folder}/images",
        *(
            ["[os_glance_tasks_store]", f"filesystem_store_datadir = {folder}/tasks"]
            * bool(options["enabled_backends"])
        ),
        "[database]",
        f"connection = sqlite:///{folder}/glance.sqlite",
        "[paste_deploy]",
        f"config_file = {folder}/glance-api-paste.ini",
        "flavor =",
    ]
    (folder / "glance-api.conf").write_text("\n".join(lines) + "\n")
    with (folder / "log").open("wb") as log, socket.create_server(("127.0.0.1", 0)) as listening:
        child: dict[str, Any] = {
            "stdout": log,
            "stderr": log,
            "env": {**os.environ, "OS_GLANCE_CONFIG_DIR": str(folder), "OSLO_LOCK_PATH": f"{folder}/locks"},
        }
        if not (folder / "glance.sqlite").exists():
            (folder / "glance.sqlite").write_bytes(_empty_database())
        descriptor = listening.fileno()
        process = subprocess.Popen(
            [sys.executable, str(script), str(descriptor)], pass_fds=[descriptor], **child
        )
        server = Server(f"http://127.0.0.1:{listening.getsockname()[1]}", folder)
    try:
        _wait(server, process)
        yield server
    finally:
        process.kill()
        process.wait()


@cache
def _empty_database() -> bytes:
    """Glance's tables, as its own command makes them."""
    with TemporaryDirectory() as name:
        configuration, database = Path(name, "glance-api.conf"), Path(name, "glance.sqlite")
        configuration.write_text(f"[database]\nconnection = sqlite:///{database}\n")
        sync = ["-m", "glance.cmd.manage", "--config-file", str(configuration), "db", "sync"]
        subprocess.run([sys.executable, *sync], check=True, capture_output=True)
        return database.read_bytes()


def _wait(server: Server, process: subprocess.Popen[bytes], seconds: float = 120) -> None:
    """The socket listens before Glance is there: the first answer says that it is."""
    try:
        with urllib.request.urlopen(f"{server.url}/versions", timeout=seconds):
            return
    except OSError as error:
        process.kill()
        log = (server.folder / "log").read_text(errors="replace")
        raise RuntimeError(f"Glance does not start: {error}\n{log}") from error


def token_factory(*_: Any, **__: Any) -> Callable[[Any], Any]:
    """Paste's filter factory: Keystone's middleware without Keystone."""

    def wrap(app: Any) -> Any:
        def identified(environ: dict[str, Any], start_response: Any) -> Any:
            role, _, project = environ.get("HTTP_X_AUTH_TOKEN", "").partition(":")
            if project:
                environ["HTTP_X_IDENTITY_STATUS"] = "Confirmed"
                environ["HTTP_X_ROLES"] = {"admin": "admin,member,reader", "member": "member,reader"}.get(
                    role, role
                )
                environ["HTTP_X_PROJECT_ID"] = environ["HTTP_X_USER_ID"] = project
            return app(environ, start_response)

        return identified

    return wrap


def serve(descriptor: int) -> None:
    """Glance behind the standard library's WSGI server, on a socket that listens already."""
    with hidden("rfc3987_syntax"):  # as in sim.cinder
        from glance.wsgi.api import application

    server = WSGIServer(("127.0.0.1", 0), WSGIRequestHandler, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=descriptor)
    server.server_name, server.server_port = server.socket.getsockname()
    server.setup_environ()
    server.set_app(application)
    server.serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
