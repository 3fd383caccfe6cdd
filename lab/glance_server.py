"""Serves Glance's own WSGI application: it sends so many images at once, each at a rate.

Run as a script: the standard library's server, with a thread for each connection. `LAB_STREAMS` and
`LAB_STREAM_MIB_S` in the environment are the limits; a download waits in turn for a stream.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

FILE = re.compile(r"/v2/images/[^/]+/file$")
MIB = 1 << 20
# What Keystone's middleware would tell Glance: here everybody is an administrator.
IDENTITY = {
    "HTTP_X_IDENTITY_STATUS": "Confirmed",
    "HTTP_X_ROLES": "admin,member,reader",
    "HTTP_X_PROJECT_ID": "lab",
    "HTTP_X_USER_ID": "lab",
}


class Paced:
    """A WSGI application around Glance's. Uploads to Glance are not paced."""

    def __init__(self, app: Callable[..., Iterable[bytes]], streams: int | None, mib_s: float | None) -> None:
        self.app, self.mib_s = app, mib_s
        self.streams = threading.Semaphore(streams) if streams else None

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ |= IDENTITY
        if environ["REQUEST_METHOD"] != "GET" or not FILE.search(environ["PATH_INFO"]):
            return self.app(environ, start_response)
        return self._sent(environ, start_response)

    def _sent(self, environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        if self.streams:
            self.streams.acquire()
        try:
            start, sent = time.monotonic(), 0
            for chunk in self.app(environ, start_response):
                sent += len(chunk)
                if self.mib_s:
                    time.sleep(max(0.0, start + sent / MIB / self.mib_s - time.monotonic()))
                yield chunk
        finally:
            if self.streams:
                self.streams.release()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128


class _Handler(WSGIRequestHandler):
    def address_string(self) -> str:
        return str(self.client_address[0])


def main(port: int) -> None:
    from glance.wsgi.api import application

    streams, mib_s = os.environ.get("LAB_STREAMS"), os.environ.get("LAB_STREAM_MIB_S")
    server = _Server(("127.0.0.1", port), _Handler)
    server.set_app(Paced(application, int(streams) if streams else None, float(mib_s) if mib_s else None))
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
