"""Which gauges a filesystem has, by the config and the roots on it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import yaml

from cache.helpers import Tracker
from gcsidecar.cache.root import Root
from gcsidecar.gc.clock import SYSTEM_CLOCK
from gcsidecar.gc.pressure import Resource
from gcsidecar.sidecar.config import load
from gcsidecar.sidecar.gauges import gauges_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gcsidecar.gc.pressure import Gauge


@contextmanager
def gauges(tmp_path: Path, *roots: dict[str, Any], **keys: Any) -> Iterator[list[Gauge]]:
    """The gauges of roots that all lie on one filesystem."""
    entries = []
    for number, keys_of_root in enumerate(roots):
        path = tmp_path / f"root{number}"
        path.mkdir()
        entries.append({"name": f"r{number}", "path": str(path)} | keys_of_root)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"roots": entries} | keys))
    config = load(str(tmp_path / "c.yaml"), {})
    opened = [Root(spec, Tracker()) for spec in config.roots]
    try:
        yield gauges_of(opened, config, SYSTEM_CLOCK)
    finally:
        for root in opened:
            root.close()


def what(found: list[Gauge]) -> set[tuple[Resource, str | None]]:
    return {(reading.resource, reading.group) for reading in (gauge.measure() for gauge in found)}


def test_a_plain_root_has_space_and_inodes(tmp_path: Path) -> None:
    with gauges(tmp_path, {}) as found:
        assert what(found) == {(Resource.DISK, None), (Resource.INODES, None)}


def test_caps_are_of_their_root_and_memory_is_off_until_the_config_says_whose(tmp_path: Path) -> None:
    memory = {"memory": {"cgroup": "host", "min_available": "1MiB"}}
    with gauges(tmp_path, {"max_size": "1GiB"}, {"max_folders": 3}, thresholds=memory) as found:
        assert {(Resource.SIZE, "r0"), (Resource.FOLDERS, "r1"), (Resource.MEMORY, None)} <= what(found)


def test_of_several_roots_thresholds_the_strictest_of_each_field_holds(tmp_path: Path) -> None:
    one = {"thresholds": {"disk": {"min_free": "30%", "target_free": "35%"}}}
    other = {"thresholds": {"disk": {"min_free": "1MiB", "target_free": "60%"}}}
    with gauges(tmp_path, one, other) as found:
        reading = found[0].measure()
        threshold = found[0].threshold(reading)
    assert threshold is not None
    assert abs(threshold.trigger - reading.capacity * 0.30) <= 1
    assert abs(threshold.target - reading.capacity * 0.60) <= 1
