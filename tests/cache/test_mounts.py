"""Whether something is mounted below a directory, seen anew each time although the table is seldom read."""

from __future__ import annotations

import os
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from gcsidecar.cache.mounts import Mounts

if TYPE_CHECKING:
    from pathlib import Path

    from cache.conftest import Mounts as Mounting


@pytest.mark.parametrize("name", ["plain", "with a space", "back\\slash", "new\nline"])
def test_a_mount_is_seen_as_soon_as_it_is_made_and_no_longer_than_it_is_there(
    tmp_path: Path, mounts: Mounting, name: str
) -> None:
    place = tmp_path / "folder" / name / "sub"
    place.mkdir(parents=True)
    top, fd, other = (os.open(path, os.O_RDONLY) for path in (tmp_path, tmp_path / "folder", place))
    with closing(Mounts(top)) as table:
        for _ in range(2):
            assert not table.is_below(fd)
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], check=True)
            assert [table.is_below(fd) for _ in range(3)] == [True] * 3
            assert not table.is_below(other), "that is the mount point itself"
            subprocess.run(["umount", str(place)], check=True)
        assert not table.is_below(fd)
        (tmp_path / "folder2").mkdir()
        mounts.mount_over(tmp_path / "folder2", "-t", "tmpfs", "tmpfs")
        assert not table.is_below(fd), "a name that only begins like it"
    for opened in (top, fd, other):
        os.close(opened)
