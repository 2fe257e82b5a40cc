"""The sums of one measuring under way. It adds up; what is looked at, and what that means, is for others.

The process that measures imports it, so it has no dataclass: those cost as much memory as all the rest of it.
"""

from __future__ import annotations

BLOCK_BYTES = 512  # the unit of st_blocks, whatever the filesystem's own (`stat(2)`)


class _Share:
    """The sums over all files with one number of links, before they are divided by it."""

    __slots__ = ("apparent_bytes", "blocks", "files")

    def __init__(self) -> None:
        self.blocks = self.apparent_bytes = self.files = 0


class Figures:
    """What was found in one tree so far.

    Attributes:
        entries: How many were looked at.
        blocks: Allocated by directories, and by files that have one link.
        inodes: How many of those there are.
        apparent_bytes: Length of those files.
        newest_mtime: The newest of a regular file, in POSIX seconds; 0.0 where there is none.
        newest_atime: Likewise.
        obstacle: The first thing for which the tree can't be deleted whole.
        unreadable: Directories whose contents, or some of them, are not in these figures.
    """

    __slots__ = (
        "_shares",
        "apparent_bytes",
        "blocks",
        "entries",
        "inodes",
        "newest_atime",
        "newest_mtime",
        "obstacle",
        "unreadable",
    )

    def __init__(self) -> None:
        self.entries = self.blocks = self.inodes = self.apparent_bytes = self.unreadable = 0
        self.newest_mtime = self.newest_atime = 0.0
        self.obstacle: str | None = None
        self._shares: dict[int, _Share] = {}

    def add(self, links: int, blocks: int, size: int) -> None:
        """Count what isn't a directory; of a hard link its share.

        That is right in the sum wherever the others lie, and none has to be remembered.
        """
        self.entries += 1
        if links > 1:
            share = self._shares.get(links)
            if share is None:
                share = self._shares[links] = _Share()
            share.blocks += blocks
            share.apparent_bytes += size
            share.files += 1
        else:
            self.blocks += blocks
            self.apparent_bytes += size
            self.inodes += 1

    def add_directory(self, blocks: int) -> None:
        """Count a directory."""
        self.entries += 1
        self.blocks += blocks
        self.inodes += 1

    def totals(self) -> tuple[int, int, int, float, float, int, str | None, int]:
        """The figures in the order of `TreeSize`'s attributes."""
        blocks_bytes, inodes, apparent_bytes = self.blocks * BLOCK_BYTES, self.inodes, self.apparent_bytes
        for links, share in self._shares.items():
            blocks_bytes += share.blocks * BLOCK_BYTES // links
            inodes += share.files // links
            apparent_bytes += share.apparent_bytes // links
        return (
            blocks_bytes,
            inodes,
            apparent_bytes,
            self.newest_mtime,
            self.newest_atime,
            self.entries,
            self.obstacle,
            self.unreadable,
        )
