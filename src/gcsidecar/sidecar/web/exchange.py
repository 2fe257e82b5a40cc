"""What is asked over HTTP and what is answered, as values.

Nothing of sockets or of what is served: pages make answers of questions, connections carry both.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http.client import responses
from urllib.parse import parse_qs

PLAIN = "text/plain; charset=utf-8"

# RFC 9112, 3.2: a path, or the whole URL, which a server has to accept, too.
_TARGET = re.compile(r"(?:https?://[^/?#]*)?(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?.*", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Question:
    """A request.

    Attributes:
        method: As sent, upper case.
        path: Without the query, not unescaped; empty where it can't be told.
        query: Values by their name.
        headers: By name, whatever its case; several of one name are joined by commas.
        client: Where it came from, for the log.
        certificate_names: The names in the client's verified certificate; none where it showed none.
    """

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    client: str = ""
    certificate_names: frozenset[str] | None = None

    @classmethod
    def of(
        cls,
        method: str,
        target: str,
        headers: Mapping[str, str],
        client: str = "",
        certificate_names: frozenset[str] | None = None,
    ) -> Question:
        """The question that a request line and headers put."""
        match = _TARGET.fullmatch(target)
        path, query = (match["path"], match["query"]) if match else (None, None)
        return cls(method, path or "", parse_qs(query or ""), headers, client, certificate_names)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, its body whole.

    Attributes:
        status: As HTTP numbers it.
        body: What is sent, encoded already; for HEAD its length only is sent.
        content_type: What the body is.
        headers: More of them; they go before those that every answer has.
    """

    status: int
    body: bytes
    content_type: str = PLAIN
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """The words after the status."""
        return responses.get(self.status, "Unknown")

    def all_headers(self) -> dict[str, str]:
        """Every header that is sent, the length and those that keep a browser from guessing and storing included."""
        return {
            "Date": formatdate(usegmt=True),
            "Content-Type": self.content_type,
            "Content-Length": str(len(self.body)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            **self.headers,
        }


def plain(status: int, *lines: str, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer in lines of plain text."""
    return Answer(status, "".join(f"{line}\n" for line in lines).encode(), headers=headers or {})


# Whoever answers; who may ask is asked of one that is wrapped around another.
Site = Callable[[Question], Awaitable[Answer]]
