"""What a lease file of our client says: read back as it was written, and nothing else taken for it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcsidecar.contract import MAX_HOLDER_BYTES, Holder, decoded

COUNTS = st.integers(0, (1 << 64) - 1)
TIMES = st.floats(0, 4e9)
HOLDERS = st.builds(
    Holder,
    pid=COUNTS,
    started=COUNTS,
    boot_id=st.text(max_size=40),
    device=COUNTS,
    pid_namespace=COUNTS,
    mount_namespace=COUNTS,
    host=st.text(max_size=64),
    purpose=st.text(max_size=100),
    at=TIMES,
    ttl_seconds=st.none() | TIMES,
    locked=st.booleans(),
)
HOLDER = Holder(
    pid=1,
    started=2,
    boot_id="b",
    device=3,
    pid_namespace=4,
    mount_namespace=5,
    host="h",
    purpose="p",
    at=6.0,
    ttl_seconds=None,
    locked=True,
)


def fields(holder: Holder) -> dict[str, Any]:
    return {name: getattr(holder, name) for name in Holder.__slots__}


@given(HOLDERS)
def test_a_holder_is_read_as_it_was_written(holder: Holder) -> None:
    found = decoded(holder.encoded())
    assert found is not None
    assert fields(found) == fields(holder)


@given(st.binary(max_size=200))
def test_no_bytes_make_it_raise(text: bytes) -> None:
    decoded(text)


@pytest.mark.parametrize(
    "change",
    [
        {"gcsidecar": 2},
        {"gcsidecar": None},
        {"pid": -1},
        {"pid": True},
        {"pid": "1"},
        {"device": 1 << 64},
        {"host": 1},
        {"at": float("nan")},
        {"at": float("inf")},
        {"ttl_seconds": "60"},
        {"locked": 1},
        {"more": 1},
    ],
)
def test_what_is_not_of_this_version_is_no_holder(change: dict[str, Any]) -> None:
    assert decoded(HOLDER.encoded()) is not None
    assert decoded(json.dumps(json.loads(HOLDER.encoded()) | change).encode()) is None


@pytest.mark.parametrize("text", [b"", b"[]", b"1", b"null", b"{}", b"[" * 100_000, b" " * (MAX_HOLDER_BYTES + 1)])
def test_a_bare_lease_has_no_holder(text: bytes) -> None:
    assert decoded(text) is None


def test_a_field_that_is_missing_makes_it_no_holder() -> None:
    written = json.loads(HOLDER.encoded())
    for name in written:
        assert decoded(json.dumps({key: value for key, value in written.items() if key != name}).encode()) is None
