"""What is logged of collections: enough to explain them, and not a line at each of many looks at the same state."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fakes import NOW, FakeClock
from gcsidecar.cache.regrets import Regret
from gcsidecar.cache.use.lease import Lease
from gcsidecar.cache.use.verdict import End, Ended, Reaped
from gcsidecar.gc.planning import Kept, Plan, Want
from gcsidecar.gc.pressure import Measurement, Resource, Threshold
from gcsidecar.sidecar import journal
from sidecar.metrics_sample import reaped

if TYPE_CHECKING:
    import pytest


def fruitless(resource: Resource = Resource.DISK) -> Plan:
    want = Want(Threshold(resource, 20, 30), Measurement(resource, 100, 10, 0.0), 20)
    return Plan(0.0, (want,), (), (Kept("a", "leased", "jobs"),))


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_that_nothing_can_go_is_told_once_in_a_while_however_often_leases_change(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock()
    patience = journal.Patience(clock)
    for _ in range(100):
        journal.planned("jobs", fruitless(), patience, dry_run=False)
        clock.advance(0.1)
    assert events(caplog) == ["nothing-to-evict"]
    clock.advance(journal.AGAIN_SECONDS)
    journal.planned("jobs", fruitless(), patience, dry_run=False)
    assert events(caplog) == ["nothing-to-evict"] * 2


def test_that_another_resource_is_scarce_is_told_at_once(caplog: pytest.LogCaptureFixture) -> None:
    patience = journal.Patience(FakeClock())
    journal.planned("jobs", fruitless(), patience, dry_run=False)
    journal.planned("jobs", fruitless(Resource.INODES), patience, dry_run=False)
    assert events(caplog) == ["nothing-to-evict"] * 2


def test_folders_kept_when_it_came_to_it_are_a_line_for_each_reason_whatever_their_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="gcsidecar")
    patience = journal.Patience(FakeClock())
    many = [Kept(f"f{number}", "paused", "jobs") for number in range(10_000)]
    for _ in range(3):
        journal.kept([*many, Kept("b", "leased", "jobs")], patience)
    assert events(caplog) == ["kept", "kept"]
    said = vars(caplog.records[0])["fields"]
    assert (said["reason"], said["folders"], said["named"].count(",")) == ("paused", 10_000, journal.NAMED - 1)


def test_a_regret_says_how_long_ago_the_folder_went_and_what_it_took(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="gcsidecar")
    journal.regretted(Regret("jobs", "two\nlines", NOW - 60, NOW, 4096))
    assert events(caplog) == ["regretted"]
    said = vars(caplog.records[0])["fields"]
    assert said == {"root": "jobs", "folder": r"two\x0alines", "evicted_seconds_ago": 60.0, "disk_bytes": 4096}


def test_a_lease_that_was_reaped_is_told_of_with_its_holder(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="gcsidecar")
    journal.reaped(reaped())
    assert events(caplog) == ["lease-reaped"]
    said = vars(caplog.records[0])["fields"]
    assert said == {
        "root": "jobs",
        "folder": "some/folder",
        "lease": ".lease.x",
        "why": "dead",
        "alive_at": NOW - 60,
        "pid": 4711,
        "host": "builder-7",
        "purpose": "\ud800 pip\n",
        "since": NOW - 660,
    }


def test_of_a_bare_lease_that_was_reaped_nobody_knows_the_holder(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="gcsidecar")
    journal.reaped(Reaped("jobs", "a", Ended(Lease(".lease", 1.0, inside=True), End.EXPIRED, None, 1.0)))
    said = vars(caplog.records[0])["fields"]
    assert said == {"root": "jobs", "folder": "a", "lease": ".lease", "why": "expired", "alive_at": 1.0}


def test_what_becomes_of_a_history_is_a_warning_where_something_is_wrong(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="gcsidecar")
    journal.history("jobs", "history-off", "the disk is full")
    journal.history("jobs", "history-on", "")
    assert [(record.levelname, vars(record)["fields"]) for record in caplog.records] == [
        ("WARNING", {"root": "jobs", "problem": "the disk is full"}),
        ("INFO", {"root": "jobs"}),
    ]
