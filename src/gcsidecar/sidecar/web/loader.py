"""A web config file into an access, or into all that is wrong with it; nothing else comes out.

The format is the Prometheus exporter toolkit's. Read by the same means as the sidecar's own config, save for its
variables, which the toolkit does not know.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from gcsidecar.sidecar.config.document import parse
from gcsidecar.sidecar.config.problems import WHOLE_FILE, ConfigError, Problem
from gcsidecar.sidecar.config.reader import Reader
from gcsidecar.sidecar.web.access import Access
from gcsidecar.sidecar.web.checks import problems_of
from gcsidecar.sidecar.web.settings import WebSettings
from gcsidecar.sidecar.web.tls import MAX_FILE_BYTES, TlsError, context_of, normal_name

if TYPE_CHECKING:
    from collections.abc import Callable


def load_access(path: str, about_to_read: Callable[[str], object] = lambda _file: None) -> Access:
    """Load a web config and the files that it names.

    Args:
        path: The web config.
        about_to_read: Told of each file before it is read, the web config first.

    Raises:
        ConfigError: There is something wrong with it; it holds all of it, a line each.
    """
    about_to_read(path)
    try:
        text = _text(path)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            path, [Problem(1, WHOLE_FILE, f"can't be read: {why}", "the path of a web config")]
        ) from error
    document, reader = parse(text, None), Reader()
    settings = reader.read(document.root, WebSettings)
    problems = [*document.problems, *reader.problems]
    if settings is not None and not problems:
        problems = problems_of(settings, reader.lines)
    if settings is None or problems:
        raise ConfigError(path, problems)
    tls = settings.tls_server_config
    for file in tls.files if tls else ():
        about_to_read(os.path.join(os.path.dirname(path), file))
    return _access(path, settings, reader.lines)


def _text(path: str) -> str:
    with Path(path).open("rb") as file:
        text = file.read(MAX_FILE_BYTES).decode()
    if not any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines()):
        # The toolkit would take it, and let everybody in.
        raise ValueError("there is nothing in it")
    return text


def _access(path: str, settings: WebSettings, lines: dict[str, int]) -> Access:
    if settings.basic_auth_users:
        import bcrypt  # noqa: F401, PLC0415  not needed without users; loaded before anyone waits for a verdict
    tls = settings.tls_server_config
    if tls is None:
        return Access(settings)
    try:
        context = context_of(tls, os.path.dirname(path), anonymous=bool(settings.auth_excluded_paths))
    except TlsError as error:
        key = f"tls_server_config.{error.key}"
        line = lines.get(key) or lines["tls_server_config"]
        raise ConfigError(path, [Problem(line, key, error.what, error.remedy)]) from error
    return Access(settings, context, frozenset(map(normal_name, tls.client_allowed_sans)))
