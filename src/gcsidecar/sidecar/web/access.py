"""Who may ask, as a value: the web config in force, with what was loaded by it.

A new one takes the place of the old one as a whole; nothing changes within.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gcsidecar.sidecar.web.settings import WebSettings

if TYPE_CHECKING:
    import ssl


@dataclass(frozen=True, slots=True)
class Access:
    """What holds for each connection and each request from now on.

    Attributes:
        settings: The web config.
        tls: With it every client has to speak TLS.
        allowed_names: Of clients' certificates; empty where any name will do.
    """

    settings: WebSettings = field(default_factory=WebSettings)
    tls: ssl.SSLContext | None = None
    allowed_names: frozenset[str] = frozenset()

    @property
    def asks_for_certificates(self) -> bool:
        """Whether clients are asked to show one."""
        return self._client_auth_type != "NoClientCert"

    @property
    def needs_certificate(self) -> bool:
        """Whether a client has to show one, except for what is excluded."""
        return self._client_auth_type == "RequireAndVerifyClientCert"

    @property
    def _client_auth_type(self) -> str:
        tls = self.settings.tls_server_config
        return tls.client_auth_type if tls is not None else "NoClientCert"

    def lets_in(self, path: str, names: frozenset[str] | None) -> bool:
        """Whether a client may have a page by its certificate.

        Args:
            path: Of the page.
            names: Those in the client's certificate; none where it showed none.
        """
        if path in self.settings.auth_excluded_paths:
            return True
        if names is None:
            return not self.needs_certificate
        return not self.allowed_names or bool(self.allowed_names & names)


OPEN = Access()
"""Everybody may ask, and in plain HTTP."""
