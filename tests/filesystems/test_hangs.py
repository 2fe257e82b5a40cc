"""A mount that hangs holds up nothing but its own filesystem, and is taken up again where it was left."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from cache.helpers import make_folder
from e2e.harness import Sidecar, eventually
from filesystems.roots import MEASURED_OFTEN, config, names, root

if TYPE_CHECKING:
    from pathlib import Path

    from filesystems.conftest import MakeFilesystem, Serve, Server

pytestmark = pytest.mark.e2e

# Far more than it takes, and less than any supervisor waits.
ENDS_SECONDS = 5.0
SETTLED = {"settle": "100ms"}


def measured_at(sidecar: Sidecar, filesystem: str) -> float:
    return sidecar.metric("gcsidecar_filesystem_last_measurement_timestamp_seconds", filesystem=filesystem) or 0.0


def expect_stale(sidecar: Sidecar) -> None:
    """The filesystem that hangs is measured no more, while others are."""

    def stands_still() -> bool:
        seen = measured_at(sidecar, "hangs")
        time.sleep(0.5)
        return measured_at(sidecar, "hangs") == seen

    eventually(stands_still, "it shows when it was measured last")


def has_written_all(sidecar: Sidecar, above: Path) -> bool:
    """All that there is is known, and the history rests."""
    if sidecar.metric("gcsidecar_root_unmeasured_folders", root="hangs"):
        return False
    files = [above / ".gcsidecar" / name for name in ("history.sqlite", "history.sqlite-wal")]
    before = [file.stat().st_mtime_ns for file in files]
    time.sleep(1.5)
    return before == [file.stat().st_mtime_ns for file in files]


def test_a_mount_that_hangs_shows_stale_while_others_are_kept_and_goes_on_where_it_was(
    server: Server, tmpfs: MakeFilesystem, tmp_path: Path
) -> None:
    other = tmpfs()
    for above, name in ((server.mount, "hung"), (other, "other")):
        make_folder(above, name)
    roots = (root(server.mount, "hangs", max_folders=1, lease=SETTLED), root(other, "other", max_folders=1))
    with Sidecar(tmp_path, config(*roots, **MEASURED_OFTEN)) as sidecar:
        eventually((server.mount / ".gcsidecar/history.sqlite").exists, "it keeps a history there")
        make_folder(server.mount, "newer")
        with server.hanging():
            expect_stale(sidecar)
            make_folder(other, "newer")
            eventually(lambda: names(other) == {"newer"}, "the other filesystem is kept")
            assert measured_at(sidecar, "other") > measured_at(sidecar, "hangs")
            assert sidecar.get("/healthz") == (200, "ok\n")
            assert sidecar.get("/readyz")[0] == 200
            sidecar.send(signal.SIGHUP)
            eventually(lambda: sidecar.events("config-loaded"), "a new config is followed")
            assert sidecar.events("hung")[0]["filesystem"] == "hangs"
            assert sidecar.get("/healthz") == (200, "ok\n")
            make_folder(other, "newest")
            eventually(lambda: names(other) == {"newest"}, "the other filesystem is kept on")
            stale = measured_at(sidecar, "hangs")
        eventually(lambda: measured_at(sidecar, "hangs") > stale, "it is measured again")
        eventually(lambda: names(server.mount) == {"newer"}, "it is kept again")
        # What is being written as it begins to hang the kernel waits for, whatever signal there is.
        eventually(lambda: has_written_all(sidecar, server.mount), "nothing is to be written")
        with server.hanging():
            status, seconds = sidecar.stop()
            assert (status, seconds < ENDS_SECONDS) == (0, True), seconds
            assert sidecar.events("stopped")


def test_a_mount_that_hangs_amid_a_deletion_leaves_it_to_the_next_start(
    tmpfs: MakeFilesystem, fuse: Serve, tmp_path: Path
) -> None:
    source = tmpfs()
    server = fuse(tmp_path / "hangs", "bindfs", "-f", str(source))
    for number in range(3000):
        make_folder(source, f"a/{number}", size=0)
    make_folder(source, "b")
    made = config(root(server.mount, max_folders=1, lease=SETTLED))
    with Sidecar(tmp_path, made) as sidecar:
        # Nothing is asked of the mount itself here: it may hang by then.
        condemned = source / ".gcsidecar/condemned"
        eventually(lambda: list(condemned.glob("*/*/1*")), "it is being deleted")
        with server.hanging():
            time.sleep(0.5)
            assert sidecar.get("/healthz") == (200, "ok\n")
            sidecar.send(signal.SIGTERM)
            eventually(lambda: sidecar.events("stopped"), "it has done what it can", ENDS_SECONDS)
            assert sidecar.events("hung")
        # So it does for what the server had taken and not answered.
        assert sidecar.process is not None
        assert sidecar.process.wait(ENDS_SECONDS) == 0
    left = list(condemned.glob("*/*"))
    assert names(source) == {"b"}
    with Sidecar(tmp_path, made):
        eventually(lambda: not list(condemned.glob("*/*")), "the rest goes")
    assert left
