"""Stands before all pages: who may not ask is told so, and every answer carries the headers that are wanted.

It asks for certificates and passwords by the access in force; which pages there are it doesn't know.
"""

from __future__ import annotations

import base64
import binascii
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from gcsidecar.sidecar.web.access import OPEN, Access
from gcsidecar.sidecar.web.exchange import plain
from gcsidecar.sidecar.web.passwords import Passwords, Verdict

if TYPE_CHECKING:
    from gcsidecar.sidecar.web.exchange import Answer, Question, Site
    from gcsidecar.sidecar.web.settings import RateSettings

_CHALLENGE = {"WWW-Authenticate": 'Basic realm="gcsidecar", charset="UTF-8"'}


class Gate:
    """Asks a site where that is allowed.

    Attributes:
        access: What holds; may be replaced at any time, from any thread.
    """

    def __init__(self, site: Site, access: Access = OPEN) -> None:
        """Set up.

        Args:
            site: Who answers those that are let in.
            access: Who is.
        """
        self.access = access
        self._site, self._passwords = site, Passwords()
        self._bucket = Bucket(access.settings.rate_limit)

    async def __call__(self, question: Question) -> Answer:
        """The site's answer, or why there is none."""
        access = self.access
        answer = await self._refusal(question, access) or await self._site(question)
        wanted = access.settings.http_server_config.headers
        return replace(answer, headers={**wanted, **answer.headers}) if wanted else answer

    async def _refusal(self, question: Question, access: Access) -> Answer | None:
        limit = access.settings.rate_limit
        if limit.interval and not self._take(limit):
            return plain(429, "too many requests; come again", headers={"Retry-After": "1"})
        if not access.lets_in(question.path, question.certificate_names):
            return plain(403, "a client certificate that is allowed here is needed")
        users = access.settings.basic_auth_users
        if not users or question.path in access.settings.auth_excluded_paths:
            return None
        credentials = _credentials(question.headers.get("Authorization", ""))
        verdict = credentials and await self._passwords.verdict(users, *credentials, question.client)
        if verdict is Verdict.RIGHT:
            return None
        if verdict is Verdict.BUSY:
            return plain(503, "too many passwords to look at; come again", headers={"Retry-After": "1"})
        return plain(401, "a user's name and password are needed", headers=_CHALLENGE)

    def _take(self, limit: RateSettings) -> bool:
        if self._bucket.limit != limit:
            self._bucket = Bucket(limit)
        return self._bucket.take(time.monotonic())


class Bucket:
    """Tokens, one for each request, that come back one an interval, up to the burst."""

    def __init__(self, limit: RateSettings) -> None:
        self.limit = limit
        self._tokens, self._at = float(limit.burst), 0.0

    def take(self, now: float) -> bool:
        """Take a token; whether there was one.

        Args:
            now: By the monotonic clock, in seconds.
        """
        came_back = (now - self._at) / self.limit.interval
        self._tokens, self._at = min(self.limit.burst, self._tokens + came_back), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def _credentials(header: str) -> tuple[str, bytes] | None:
    """Name and password; none where there are none."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (name.decode(), password) if colon else None
    except (binascii.Error, UnicodeDecodeError):
        return None
