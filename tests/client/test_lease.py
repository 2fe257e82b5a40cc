"""A lease of our Python client on real directories: what it puts there, and what it leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gcsidecar
from gcsidecar.contract import decoded

if TYPE_CHECKING:
    from pathlib import Path


def test_a_lease_is_a_file_in_the_folder_until_it_is_released(tmp_path: Path) -> None:
    with gcsidecar.lease(tmp_path / "a", purpose="a test") as folder:
        (file,) = (tmp_path / "a").iterdir()
        holder = decoded(file.read_bytes())
        assert holder is not None
        assert holder.purpose == "a test"
        assert str(file) == folder.file
    assert list((tmp_path / "a").iterdir()) == []
