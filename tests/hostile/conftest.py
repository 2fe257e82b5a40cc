"""A root to evict from, and a canary beside it; whatever a tree is like, the canary has to live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import needs
from cache.conftest import as_nobody, ext4, mounts, tmpfs
from children import in_child
from hostile.place import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["as_nobody", "ext4", "mounts", "tmpfs"]

_NEED_ROOT = {"as_nobody", "as_uid_0", "ext4", "mounts", "tmpfs"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _NEED_ROOT & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.root)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """On whatever filesystem temporary directories are."""
    with Place(tmp_path) as made:
        yield made


@pytest.fixture(params=["tmpfs", "ext4"])
def either(request: pytest.FixtureRequest) -> Iterator[Place]:
    """On a tmpfs and on an ext4 in turn."""
    with Place(request.getfixturevalue(request.param)()) as made:
        yield made


@pytest.fixture
def as_uid_0() -> Callable[[Callable[[], Any]], Any]:
    """Runs a function in a child that may drop what it can do; what it returns comes back, what it raises is raised."""
    needs.root()
    return in_child
