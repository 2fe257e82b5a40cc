"""The root and `.gcsidecar/` replaced under our hands: what goes goes where the config says, or not at all."""

from __future__ import annotations

import os
import shutil

import pytest

import needs
from cache.helpers import make_folder, opened
from gcsidecar.cache.custody import STANDBY
from gcsidecar.cache.errors import RootUnavailableError, StateDirectoryError
from hostile.place import NOBODY, Place, evict, kept_for


def replace_by(place: Place, what: str) -> None:
    """Something else in the root's place; the root itself is beside it, as `away`."""
    place.root.rename(place.root.parent / "away")
    if what == "link":
        place.root.symlink_to(place.outside)
    elif what == "folder":
        make_folder(place.root, "a")
    elif what == "file":
        place.root.touch()


def put_back(place: Place) -> None:
    if place.root.is_dir() and not place.root.is_symlink():
        shutil.rmtree(place.root)
    else:
        place.root.unlink(missing_ok=True)
    (place.root.parent / "away").rename(place.root)


@pytest.mark.parametrize("what", ["link", "folder", "file", "nothing"])
def test_from_a_root_that_is_no_longer_where_it_was_nothing_goes(place: Place, what: str) -> None:
    make_folder(place.root, "a")
    with place.opened() as root:
        replace_by(place, what)
        assert kept_for(root, "a") == "gone"
        assert (place.root.parent / "away/a/data").exists()
        put_back(place)
        evict(root, "a")


def test_a_root_swapped_in_the_middle_of_an_eviction_changes_nothing_elsewhere(place: Place) -> None:
    make_folder(place.root, "a")
    make_folder(place.outside, "a")

    def swap(step: str) -> None:
        if step == "move out":
            replace_by(place, "link")

    before = sorted(os.listdir(place.outside))
    with place.opened(step=swap) as root:
        evict(root, "a")
        assert sorted(os.listdir(place.outside)) == before
        assert not (place.root.parent / "away/a").exists()
        put_back(place)
    shutil.rmtree(place.outside / "a")


@pytest.mark.parametrize("uid", [NOBODY, 0])
def test_a_link_to_the_root_has_to_be_roots_or_ours(place: Place, uid: int) -> None:
    needs.root()
    link, above = place.root.parent / "link", place.root.parent / "above"
    link.symlink_to(place.root.name)
    above.symlink_to(place.root.parent)
    for one in (link, above):
        os.chown(one, uid, uid, follow_symlinks=False)
    for path in (link, above / "root", above / "link"):
        if uid == 0:
            with opened(path) as root:
                assert root.census.get("neighbour")
        else:
            with pytest.raises(RootUnavailableError, match=f"is a link that user {uid} made; give it to root or"):
                opened(path).__enter__()


def test_links_in_a_circle_lead_to_no_root(place: Place) -> None:
    (place.root.parent / "circle").symlink_to("circle")
    with pytest.raises(RootUnavailableError, match="Too many levels of symbolic links"):
        opened(place.root.parent / "circle").__enter__()


@pytest.mark.parametrize("what", [".gcsidecar", ".gcsidecar/evicting", ".gcsidecar/condemned"])
@pytest.mark.parametrize("by", ["link", "folder", "nothing"])
def test_what_is_ours_swapped_under_us_is_noticed_and_nothing_is_written_through_it(
    place: Place, what: str, by: str
) -> None:
    make_folder(place.root, "a")
    path, away = place.root / what, place.root.parent / "away"
    with place.opened() as root:
        path.rename(away)
        if by == "link":
            path.symlink_to(place.outside)
        elif by == "folder":
            path.mkdir()
        assert kept_for(root, "a") == STANDBY
        with pytest.raises(StateDirectoryError, match="was moved or replaced; it is opened anew"):
            root.custody.recover()
        assert not root.custody.active
        if by == "link":
            with pytest.raises(StateDirectoryError, match="something else has that name: move it away"):
                root.custody.activate({})
            path.unlink()
        assert root.custody.activate({})
        evict(root, "a")
        place.expect_unharmed()


def test_moved_into_a_folder_that_is_to_go_it_goes_nowhere(place: Place) -> None:
    make_folder(place.root, "a")
    with place.opened() as root:
        (place.root / ".gcsidecar").rename(place.root / "a" / ".gcsidecar")
        assert kept_for(root, "a") == STANDBY
        with pytest.raises(StateDirectoryError):
            root.custody.recover()
        assert root.custody.activate({})
        evict(root, "a")
        assert not (place.root / "a").exists()
