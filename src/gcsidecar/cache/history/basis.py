"""The basis of what a history knows of a folder: for which leases it was looked at, and as whom it was measured.

Values only. Where one of them is another now, what was found under it says nothing, and is found anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsidecar.cache.obstacles import rights
from gcsidecar.contract import CLIENT_LEASES

if TYPE_CHECKING:
    from gcsidecar.cache.spec import RootSpec


@dataclass(frozen=True, slots=True)
class Basis:
    """Of one root, now or then.

    Attributes:
        lease_files: The lease patterns, a line each: that there was no lease holds for these only.
        last_used: `mtime` or `atime`: what the newest use inside a folder is.
        rights: As whom it was measured: what stands in the way of a deletion does so for these rights only.
    """

    lease_files: str
    last_used: str
    rights: str

    @classmethod
    def of(cls, spec: RootSpec) -> Basis:
        """Of this process."""
        return cls("\n".join(sorted({*spec.lease.files, CLIENT_LEASES})), spec.last_used, rights())

    def looked_alike(self, other: Basis) -> bool:
        """Whether who found no lease under the one would have found none under the other."""
        return self.lease_files == other.lease_files

    def measured_alike(self, other: Basis) -> bool:
        """Whether a size measured under the one is one under the other."""
        return (self.last_used, self.rights) == (other.last_used, other.rights)
