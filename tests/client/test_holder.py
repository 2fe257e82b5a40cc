"""What a lease file says of its holder is true; without `/proc` it says less."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import gcsidecar
import needs
from children import in_child
from client.helpers import leases
from gcsidecar.contract import Holder, decoded

PRINT = "import sys, gcsidecar; print(open(gcsidecar.lease(sys.argv[1]).file).read(), end='')"


def holder_of(text: bytes) -> Holder:
    holder = decoded(text)
    assert holder is not None
    return holder


def taken(path: Path, purpose: str = "") -> Holder:
    with gcsidecar.lease(path, purpose=purpose) as folder, open(folder.file, "rb") as file:
        return holder_of(file.read())


def namespace(kind: str) -> int:
    return os.stat(f"/proc/self/ns/{kind}").st_ino


def test_a_lease_file_says_who_holds_it(tmp_path: Path) -> None:
    before = time.time()
    holder = taken(tmp_path / "a", "a test")
    assert holder.pid == os.getpid()
    assert holder.started == int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    assert holder.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert holder.device == os.stat(tmp_path / "a").st_dev
    assert (holder.pid_namespace, holder.mount_namespace) == (namespace("pid"), namespace("mnt"))
    assert holder.host == socket.gethostname()
    assert before <= holder.at <= time.time()
    assert (holder.purpose, holder.ttl_seconds, holder.locked) == ("a test", None, True)


def test_a_forked_child_says_its_own_number(tmp_path: Path) -> None:
    ours = taken(tmp_path / "a")
    pid, holder_pid, started = in_child(lambda: (os.getpid(), (h := taken(tmp_path / "a")).pid, h.started))
    assert pid == holder_pid != ours.pid
    assert started >= ours.started


def test_a_process_may_be_called_anything(tmp_path: Path) -> None:
    ours = taken(tmp_path / "a").started

    def renamed() -> int:
        with open("/proc/self/comm", "w") as file:
            file.write("a) S (b")
        return taken(tmp_path / "a").started

    now = time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")
    assert max(ours, now - 1) <= in_child(renamed) < now + 100 * os.sysconf("SC_CLK_TCK")


def test_a_process_in_a_container_says_its_number_there(tmp_path: Path) -> None:
    needs.root()
    command = [needs.program("unshare", "util-linux"), "--pid", "--fork", "--mount-proc", sys.executable, "-c", PRINT]
    holder = holder_of(subprocess.check_output([*command, tmp_path / "a"]))
    assert holder.pid == 1
    assert holder.locked
    assert holder.pid_namespace != namespace("pid")
    assert holder.mount_namespace != namespace("mnt")


def test_without_proc_a_lease_is_a_heartbeat_since_no_sidecar_could_tell_its_lock(tmp_path: Path) -> None:
    needs.root()
    hide = 'mount -t tmpfs none /proc && exec "$@"'
    command = [needs.program("unshare", "util-linux"), "--mount", "sh", "-c", hide, "sh", sys.executable, "-c", PRINT]
    holder = holder_of(subprocess.check_output([*command, tmp_path / "a"]))
    assert not holder.locked
    assert holder.ttl_seconds == 300
    assert (holder.started, holder.boot_id, holder.pid_namespace, holder.mount_namespace) == (0, "", 0, 0)
    assert leases(tmp_path / "a") == []
