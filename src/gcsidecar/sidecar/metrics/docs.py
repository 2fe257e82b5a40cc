"""`docs/metrics.md`, made from the catalogue: `python -m gcsidecar.sidecar.metrics.docs > docs/metrics.md`.

Only how the page is laid out stands here; what it says is declared with each metric and each question.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gcsidecar.sidecar.metrics.catalogue import CATALOGUE, CHAPTERS
from gcsidecar.sidecar.metrics.questions import QUESTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsidecar.sidecar.metrics.metric import Label, Metric
    from gcsidecar.sidecar.metrics.questions import Question

HEAD = """\
# Metrics

Made from the code by `make docs`; a test fails when the two differ.

All that `/metrics` shows, in Prometheus' text format or OpenMetrics, by what the scraper asks for. Units are bytes and
seconds, times are seconds since 1970. Samples are made anew at each scrape from the last values, so a series ends at
once when what it is about is gone. Counters count from the start of the process, and those of a root begin at 0 with
it, so that `increase()` sees the first event. Beside the metrics below there are those of the process itself that every
Prometheus client has (`process_*`, `python_info`).

No label holds an absolute path or the name of a lease, and none of a label's values stands for the sum of the others.
Whatever the cache holds, the number of series follows the config: folders have series of their own only as the largest
`top_folders` of their root, and there are fewer than 200 + 60 x roots + 60 x filesystems + 2 x `top_folders` x roots.
"""

ASKED = """\
Each query is right for many sidecars at once, as it keeps their `job` and `instance`; each was put to a real Prometheus
after a run in which all of it happened. Those that give nothing while all is well say so.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD, "## Questions\n", ASKED]
    for topic, questions in QUESTIONS.items():
        parts += [f"### {topic}\n", *map(_question, questions), ""]
    parts += ["## Labels\n", *_labels()]
    for title, metrics in CHAPTERS.items():
        parts += [f"## {title}\n", *(_section(metric) for metric in metrics)]
    return "\n".join(parts)


def _question(asked: Question) -> str:
    notes = ["Empty while all is well."] if asked.empty_when_healthy else []
    note = " ".join([*notes, asked.note]).strip()
    return f"- {asked.text} {note}".rstrip() + f"\n\n  ```promql\n  {asked.query}\n  ```"


def _labels() -> Iterator[str]:
    found: dict[Label, list[str]] = {}
    for metric in CATALOGUE:
        for label in metric.labels:
            found.setdefault(label, []).append(metric.name)
    yield "| label | of | what it tells apart | values, at most |\n| --- | --- | --- | --- |"
    for label, names in found.items():
        of = f"`{names[0]}`" if len(names) == 1 else f"{len(names)} metrics"
        values = ", ".join(f"`{value}`" for value in label.values)
        yield f"| `{label.name}` | {of} | {label.meaning} | {f'{label.bound}: {values}' if values else label.bound} |"
    yield ""


def _section(metric: Metric) -> str:
    names = ", ".join(f"`{label.name}`" for label in metric.labels) or "none"
    facts = [f"Type: {metric.kind}", f"Unit: {metric.unit}" if metric.unit else "", f"Labels: {names}"]
    buckets = ", ".join(f"{bound:.10g}" for bound in metric.buckets)
    lines = [
        f"### `{metric.name}`\n",
        f"{metric.help}\n",
        f"- {'. '.join(fact for fact in facts if fact)}.",
        *([f"- Buckets up to: {buckets}, and more."] if buckets else []),
        f"- A series goes: {metric.goes}.",
        f"- Example: `{metric.query}`\n",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(page())
