"""What the caretaker of roots sees to, and how soon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cache.helpers import make_folder, spec
from cache.leasing import locked, put
from fakes import FakeClock
from gcsidecar.cache.root import Root
from gcsidecar.sidecar.caretaker import RETRY_SECONDS, Caretaker
from gcsidecar.sidecar.opening import Link

if TYPE_CHECKING:
    from pathlib import Path


def test_a_parked_folder_whose_holder_is_dead_is_seen_to_within_a_second(tmp_path: Path) -> None:
    clock = FakeClock()
    make_folder(tmp_path, "a")
    lease = put(make_folder(tmp_path, ".gcsidecar/evicting/dead-1/a"))
    root = Root(spec(tmp_path), Link(), clock=clock)
    caretaker = Caretaker([root], {}, lambda *_: None, clock)
    with locked(lease):
        caretaker.look_after()
        assert root.custody.parked == {"a"}
        clock.advance(RETRY_SECONDS)
        caretaker.look_after()
        assert root.custody.parked == {"a"}
    clock.advance(RETRY_SECONDS)
    caretaker.look_after()
    assert root.custody.parked == frozenset()
    root.close()
