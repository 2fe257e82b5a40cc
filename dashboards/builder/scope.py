"""Which series a dashboard asks for: the matchers that its variables make, put to a metric.

`FLEET` may span many sidecars; the others are of the one that is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """A choice of series; calling it puts it to a metric.

    Attributes:
        matchers: As in PromQL.
    """

    matchers: tuple[str, ...]

    def __call__(self, metric: str, **labels: str) -> str:
        """The selector of a metric within this scope, of the series with these labels."""
        more = tuple(f'{name}="{value}"' for name, value in labels.items())
        return f"{metric}{{{', '.join(self.matchers + more)}}}"

    def within(self, *more: str) -> Scope:
        """A narrower one."""
        return Scope(self.matchers + more)


FLEET = Scope(('job=~"$job"', 'instance=~"$instance"'))
SIDECAR = Scope(('job="$job"', 'instance="$instance"'))
ROOT = SIDECAR.within('root=~"$root"')
# A filesystem has the name of its first root only, so that it has a variable of its own, which follows the roots.
FILESYSTEM = SIDECAR.within('filesystem=~"$filesystem"')
