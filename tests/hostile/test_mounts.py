"""What is mounted in a folder: it stays, whoever mounted it, from whatever filesystem, and at whatever moment."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from cache.trees import CANARY, fill
from gcsidecar.cache.errors import RemovalError
from hostile.place import Place, evict, evict_measured, kept_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cache.conftest import MakeFilesystem

KINDS = ["tmpfs", "bind", "over a file"]


@contextmanager
def mounted(place: Place, target: Path, kind: str) -> Iterator[None]:
    """Something mounted there, with a canary in it."""
    target.touch() if kind == "over a file" else target.mkdir()
    what = {
        "tmpfs": ["-t", "tmpfs", "tmpfs"],
        "bind": ["--bind", str(place.outside)],
        "over a file": ["--bind", str(place.outside / "canary")],
    }
    subprocess.run(["mount", *what[kind], str(target)], check=True)
    if kind == "tmpfs":
        (target / "canary").write_text(CANARY)
    try:
        yield
        assert (target if kind == "over a file" else target / "canary").read_text() == CANARY
    finally:
        subprocess.run(["umount", "--lazy", str(target)], check=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_with_a_mount_in_it_is_not_moved(tmpfs: MakeFilesystem, kind: str) -> None:
    with Place(tmpfs()) as place:
        fill(place.root / "a" / "sub", files=3)
        with mounted(place, place.root / "a" / "sub" / "mnt", kind), place.opened() as root:
            assert kept_for(root, "a") == "mounted"
            assert evict_measured(root, "a") == "obstacle"
            assert len(list((place.root / "a" / "sub").iterdir())) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_mounted_while_a_folder_is_deleted_stays_and_the_rest_goes(tmpfs: MakeFilesystem, kind: str) -> None:
    with Place(tmpfs()) as place, ExitStack() as mount:
        fill(place.root / "a" / "sub", files=3)

        def at_step(step: str) -> None:
            if step == "delete":
                condemned = next((place.root / ".gcsidecar/condemned").glob("*/a"))
                mount.enter_context(mounted(place, condemned / "sub" / "mnt", kind))

        with place.opened(step=at_step) as root:
            with pytest.raises(RemovalError, match="1 entries can't be deleted, the first is sub/mnt: "):
                evict(root, "a")
            assert place.leftovers() == ["a"]
        mount.close()
        with place.opened():
            assert place.leftovers() == []


@contextmanager
def elsewhere(*commands: str) -> Iterator[subprocess.Popen[str]]:
    """A shell with mounts of its own, as in another container, that holds them until the end."""
    script = "; ".join(["set -e", *commands, "echo ready; read line; cat canary"])
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as shell:
        assert shell.stdout is not None
        assert shell.stdout.readline() == "ready\n"
        yield shell


@pytest.mark.parametrize("kind", ["-t tmpfs tmpfs", "--bind {outside}"])
def test_what_another_container_has_mounted_in_a_folder_is_not_seen_and_keeps_all_that_is_in_it(
    tmpfs: MakeFilesystem, kind: str
) -> None:
    with Place(tmpfs()) as place:
        fill(place.root / "a" / "mnt", files=1)
        target = place.root / "a" / "mnt"
        mount = f"mount {kind.format(outside=place.outside)} {target}"
        with elsewhere(mount, f"cd {target}", f"printf '%s' '{CANARY}' >canary") as shell, place.opened() as root:
            assert evict_measured(root, "a") is None
            assert place.leftovers() == []
            assert shell.communicate("\n")[0] == CANARY
