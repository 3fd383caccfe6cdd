"""A filter before Cinder's API without Keystone: a request without a token comes from project `lab`.

Cinder's own `noauth` answers such a request with a token. Clients that ask for versions, such as `openstack`,
send none, and do not understand that answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

App = Callable[[dict[str, Any], Any], Iterable[bytes]]
TOKEN = "lab:lab"  # USER:PROJECT, as `noauth` reads it


def factory(_settings: dict[str, str], **_more: str) -> Callable[[App], App]:
    """For `paste.filter_factory`."""

    def around(app: App) -> App:
        def called(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            environ.setdefault("HTTP_X_AUTH_TOKEN", TOKEN)
            return app(environ, start_response)

        return called

    return around
