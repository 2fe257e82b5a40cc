"""Which paths can be leased: the folders of a root, as its sidecar has told them, and what is said of all others."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import gcsidecar
from cache.helpers import make_folder, opened
from client.helpers import leases
from gcsidecar.cache.folders.listing import FolderGlob
from gcsidecar.cache.spec import LeaseSpec
from gcsidecar.cache.use.lease import LeasePatterns
from gcsidecar.client.told import Told

if TYPE_CHECKING:
    from pathlib import Path


def refused(path: Path) -> str:
    with pytest.raises(gcsidecar.LeaseRefusedError) as error:
        gcsidecar.lease(path)
    return str(error.value)


def tell(root: Path, **says: Any) -> None:
    """As a sidecar does, whatever it says."""
    (root / ".gcsidecar").mkdir(parents=True, exist_ok=True)
    (root / ".gcsidecar/lock").write_text(json.dumps(says))


def test_a_folder_of_a_root_can_be_leased(tmp_path: Path) -> None:
    with opened(tmp_path), gcsidecar.lease(tmp_path / "a") as folder:
        assert folder.created
        assert len(leases(tmp_path / "a")) == 1


def test_in_a_root_of_two_levels_what_is_missing_above_a_folder_is_made(tmp_path: Path) -> None:
    with opened(tmp_path, folders="*/*"), gcsidecar.lease(tmp_path / "a/b") as folder:
        assert folder.created
        assert len(leases(tmp_path / "a/b")) == 1


def test_the_root_itself_is_no_folder(tmp_path: Path) -> None:
    with opened(tmp_path):
        assert "is a root, and no folder of one" in refused(tmp_path)


def test_a_path_within_a_folder_is_refused_with_the_folder_to_lease(tmp_path: Path) -> None:
    with opened(tmp_path):
        make_folder(tmp_path, "a")
        assert refused(tmp_path / "a/b/c").endswith(f"lease {tmp_path}/a")
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["data"]


def test_a_path_above_the_folders_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path, folders="*/*"):
        assert "lies above the folders of the root" in refused(tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_path_above_the_root_is_refused_with_the_root(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    with opened(tmp_path / "root"):
        assert f"lies above the root {tmp_path}/root" in refused(tmp_path)
    assert leases(tmp_path) == []


@pytest.mark.parametrize("name", ["other", ".hidden", ".gcsidecar", ".gcsidecar/evicting"])
def test_what_the_root_does_not_manage_is_refused(tmp_path: Path, name: str) -> None:
    with opened(tmp_path, folders="job-*"):
        assert f"is no folder of the root {tmp_path} (job-*)" in refused(tmp_path / name)


def test_what_is_named_as_a_lease_beside_a_folder_is_none(tmp_path: Path) -> None:
    with opened(tmp_path):
        assert "is no folder of the root" in refused(tmp_path / "a.lease")


def test_the_nearest_root_counts(tmp_path: Path) -> None:
    (tmp_path / "outer/inner").mkdir(parents=True)
    with opened(tmp_path / "outer", folders="elsewhere-*"), opened(tmp_path / "outer/inner"):
        gcsidecar.lease(tmp_path / "outer/inner/a").release()


def test_a_sidecar_of_another_version_is_refused(tmp_path: Path) -> None:
    tell(tmp_path, contract=2, folders="*", lease_files=[])
    assert "speaks version 2 of the lease contract, and this client version 1" in refused(tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("text", ["", '{"contract": 1, "fol', "[]", "\udc80", "[" * 100_000])
def test_where_a_sidecar_has_told_nothing_yet_a_folder_can_be_leased(tmp_path: Path, text: str) -> None:
    tell(tmp_path)
    (tmp_path / ".gcsidecar/lock").write_bytes(text.encode("utf-8", "surrogateescape"))
    gcsidecar.lease(tmp_path / "a").release()
    assert "is no folder of the root" in refused(tmp_path / ".gcsidecar/evicting")


@pytest.mark.parametrize("told", [{"folders": 1, "lease_files": None}, {"folders": "*", "lease_files": [1]}, {}])
def test_what_makes_no_sense_counts_as_not_told(tmp_path: Path, told: dict[str, Any]) -> None:
    tell(tmp_path, contract=1, **told)
    gcsidecar.lease(tmp_path / "a").release()


def test_what_a_root_says_is_read_again_when_it_says_something_else(tmp_path: Path) -> None:
    tell(tmp_path, contract=1, folders="*", lease_files=[])
    gcsidecar.lease(tmp_path / "a").release()
    tell(tmp_path, contract=1, folders="job-*", lease_files=[])
    assert "is no folder of the root" in refused(tmp_path / "a")


def test_a_lock_file_that_is_a_fifo_or_a_directory_does_not_hang(tmp_path: Path) -> None:
    (tmp_path / ".gcsidecar").mkdir()
    os.mkfifo(tmp_path / ".gcsidecar/lock")
    gcsidecar.lease(tmp_path / "a").release()
    (tmp_path / ".gcsidecar/lock").unlink()
    (tmp_path / ".gcsidecar/lock").mkdir()
    assert "can't be read" in refused(tmp_path / "a")


def test_a_root_whose_word_may_not_be_read_is_refused(common: Path, as_nobody: Any) -> None:
    tell(common, contract=1, folders="*", lease_files=[])
    (common / ".gcsidecar/lock").chmod(0o600)

    def error() -> str:
        return refused(common / "a")

    assert "make it readable for everybody" in as_nobody(error)
    (common / ".gcsidecar").chmod(0o700)
    assert "make it readable for everybody" in as_nobody(error)


def test_everybody_may_read_what_a_sidecar_says_whatever_its_umask(common: Path, as_nobody: Any) -> None:
    before = os.umask(0o077)
    try:
        with opened(common):
            assert as_nobody(lambda: refused(common)).startswith(f"{common} is a root")
    finally:
        os.umask(before)


def test_where_no_sidecar_has_been_yet_a_lease_is_taken_all_the_same(tmp_path: Path) -> None:
    with gcsidecar.lease(tmp_path / "a") as early:
        with opened(tmp_path), gcsidecar.lease(tmp_path / "a") as late:
            assert leases(tmp_path / "a") == sorted(
                [tmp_path / "a" / p.rpartition("/")[2] for p in (early.file, late.file)]
            )
        assert early.created


def test_and_what_is_missing_above_is_made(tmp_path: Path) -> None:
    with gcsidecar.lease(tmp_path / "a/b/c"):
        assert len(leases(tmp_path / "a/b/c")) == 1


def test_the_way_to_a_root_may_lead_through_links(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "link").symlink_to("root")
    with opened(tmp_path / "root"), gcsidecar.lease(tmp_path / "link/a") as folder:
        assert folder.path == str(tmp_path / "link/a")
        assert len(leases(tmp_path / "root/a")) == 1


@pytest.mark.parametrize("with_sidecar", [False, True])
def test_a_link_is_no_folder_and_what_it_leads_to_is_named(tmp_path: Path, *, with_sidecar: bool) -> None:
    make_folder(tmp_path, "a")
    (tmp_path / "link").symlink_to("a")
    if with_sidecar:
        tell(tmp_path, contract=1, folders="*", lease_files=[])
    assert refused(tmp_path / "link").endswith(f"lease {tmp_path}/a")
    assert leases(tmp_path / "a") == []


def test_a_link_on_the_way_to_a_folder_is_not_followed(tmp_path: Path) -> None:
    make_folder(tmp_path, "a/b")
    (tmp_path / "link").symlink_to("a")
    with opened(tmp_path, folders="*/*"):
        assert refused(tmp_path / "link/b").endswith(f"lease {tmp_path}/a/b")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert refused(tmp_path / "a").endswith("Not a directory; lease a directory")


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_what_names_nothing_is_refused(path: str) -> None:
    with pytest.raises(gcsidecar.LeaseRefusedError, match="names no folder"):
        gcsidecar.lease(path)


def test_the_top_of_all_is_refused() -> None:
    with pytest.raises(gcsidecar.LeaseRefusedError):
        gcsidecar.lease("/")


def test_a_relative_path_in_a_working_directory_that_is_gone_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(gcsidecar.LeaseRefusedError, match="the working directory is gone"):
        gcsidecar.lease("a")


PARTS = st.sampled_from(["a", "b", ".h", "x-a", "lost+found", ".gcsidecar", "a.lease", "[a]", "*"])
GLOBS = st.sampled_from(["*", "a*", ".*", "?", "[ab]", "[[]*", "x-*", "*.lease"])


@given(
    st.lists(PARTS, min_size=1, max_size=3).map("/".join),
    st.lists(GLOBS, min_size=1, max_size=2).map("/".join),
    st.sampled_from([LeaseSpec().files, ("{folder}/.lease",), ("x-{folder}", "l/{folder}.lock"), ("*{folder}",)]),
)
@example("a/b", "*/*", ("{folder}.lease",))
@example("a/b.lease", "*/*", ("{folder}.lease",))
def test_client_and_sidecar_agree_on_what_a_folder_is(name: str, folders: str, files: tuple[str, ...]) -> None:
    assert Told(folders, list(files)).has_folder(name) == FolderGlob(folders, LeasePatterns(files)).matches(name)
