"""What is wrong with a web config beyond its types, as the exporter toolkit would say it, and somewhat more.

Certificates are looked at where they are loaded, in `tls`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gcsidecar.sidecar.config.nodes import join
from gcsidecar.sidecar.config.problems import Problem, show
from gcsidecar.sidecar.web.lifecycle import RELOAD_PATH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gcsidecar.sidecar.web.settings import WebSettings

# At a cost of 19 one look at a password takes longer than an answer may (30 s).
_HASH = re.compile(r"\$2[abxy]?\$(0[4-9]|1[0-8])\$[./A-Za-z0-9]{53}")
# Those that the toolkit lets one set, and the values that they may have where that is told.
_HEADERS: dict[str, tuple[str, ...]] = {
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}


def problems_of(settings: WebSettings, lines: Mapping[str, int]) -> list[Problem]:
    """All that is wrong.

    Args:
        settings: What was read.
        lines: Where each key stands.
    """
    found = (*_users(settings), *_headers(settings), *_bucket(settings), *_excluded(settings))
    return [Problem(lines.get(key, 1), key, what, remedy) for key, what, remedy in found]


def _users(settings: WebSettings) -> Iterator[tuple[str, str, str]]:
    for name, hashed in settings.basic_auth_users.items():
        key = join("basic_auth_users", name)
        if not _HASH.fullmatch(hashed):
            # What stands there may be the password itself, so it is not shown.
            remedy = 'what `htpasswd -nBC 10 ""` prints, without its colon'
            yield key, "is no bcrypt hash with a cost from 4 to 18", remedy
        if ":" in name:
            yield key, "is a name with a colon, which basic auth can't tell from the password", "a name without it"


def _headers(settings: WebSettings) -> Iterator[tuple[str, str, str]]:
    for name, value in settings.http_server_config.headers.items():
        key = join("http_server_config.headers", name)
        if name not in _HEADERS:
            yield key, "is no header that can be set", f"one of {', '.join(_HEADERS)}"
        elif _HEADERS[name] and value not in _HEADERS[name]:
            yield key, f"is {show(value)}", " or ".join(_HEADERS[name])
        elif not (value.isascii() and value.isprintable()):
            yield key, "has a character that no header can have", "printable ASCII"


def _bucket(settings: WebSettings) -> Iterator[tuple[str, str, str]]:
    if settings.rate_limit.interval and not settings.rate_limit.burst:
        yield "rate_limit.burst", "is 0, which would let nobody in", "at least 1"


def _excluded(settings: WebSettings) -> Iterator[tuple[str, str, str]]:
    for number, path in enumerate(settings.auth_excluded_paths):
        if not path.startswith("/") or path == RELOAD_PATH:
            yield f"auth_excluded_paths[{number}]", f"is {show(path)}", "a page to read, such as /metrics or /healthz"
