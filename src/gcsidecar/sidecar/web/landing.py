"""The page at `/` for a person who came with a browser: what this is, which version, and where to go.

Plain on purpose: one document without anything to load, and no figures, which are for Prometheus and Grafana.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape

from gcsidecar.sidecar.web.exchange import Answer

_LINKS = (
    ("metrics", "Metrics", "what Prometheus scrapes"),
    ("healthz", "Health", "whether the process works"),
    ("readyz", "Readiness", "whether it has taken up its work, or what it waits for"),
    ("https://github.com/gcsidecar/gcsidecar#readme", "Documentation", "what it does, and what each metric means"),
)

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2733; --dim: #5b6876; --line: #d9dfe6; --ground: #f6f8fa; --link: #0b63b3 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e3e9ef; --dim: #93a1af; --line: #33404d; --ground: #151b21; --link: #6cb6ff }
}
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
main { max-width: 38rem; margin: 12vh auto 0; padding: 0 1.5rem }
h1 { margin: 0; font-size: 1.75rem; font-weight: 650 }
h1 small { margin-left: .5em; color: var(--dim); font: .9rem ui-monospace, monospace }
p { margin: .5rem 0 2rem; color: var(--dim) }
ul { margin: 0; padding: 0; list-style: none; border-top: 1px solid var(--line) }
li { display: flex; gap: 1rem; padding: .75rem 0; border-bottom: 1px solid var(--line) }
a { min-width: 8.5rem; color: var(--link); font-weight: 600; text-decoration: none }
a:hover, a:focus-visible { text-decoration: underline }
span { color: var(--dim) }
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>gcsidecar</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>gcsidecar<small>{version}</small></h1>
<p>Keeps a shared cache volume from filling up: folders in use stay, the least recently used go.</p>
<ul>
{links}
</ul>
</main>
</body>
</html>
"""

# No script, nothing from elsewhere, and of styles only the one above: a policy that needs no exception.
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {"Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'"}


def landing_page(version: str) -> Answer:
    """The page."""
    links = "\n".join(f'<li><a href="{path}">{name}</a><span>{what}</span></li>' for path, name, what in _LINKS)
    page = _PAGE.format(style=_STYLE, version=escape(version), links=links)
    return Answer(200, page.encode(), "text/html; charset=utf-8", _HEADERS)
