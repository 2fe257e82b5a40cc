"""Whether a password is a user's, by bcrypt: slow by intention, so it is done once, in a thread, one after the other.

Passwords are never kept: a verdict is remembered under a digest that is of use in this process only.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import threading
import time
from collections import Counter, OrderedDict
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# One of cost 10 takes about 50 ms: eight that wait are answered within what a scraper waits for.
MOST_WAITING = 8
MOST_WAITING_OF_A_CLIENT = 2
REMEMBERED_WRONG = 128
# After a wrong password, so many times as long as it took to tell: whoever guesses gets a quarter of a core at most.
PAUSE_FACTOR = 3
# bcrypt's own limit; the rest plays no part, neither for htpasswd nor for the exporter toolkit.
_BCRYPT_BYTES = 72


class Verdict(Enum):
    """What is said to a name with a password."""

    RIGHT = "right"
    WRONG = "wrong"
    BUSY = "busy"  # too many wait for one


class Passwords:
    """Gives verdicts; all of it runs in one event loop, save for bcrypt itself."""

    def __init__(self) -> None:
        self._secret = os.urandom(32)
        self._right: dict[str, bytes] = {}
        self._wrong: OrderedDict[bytes, None] = OrderedDict()
        self._waiting: dict[bytes, asyncio.Task[bool]] = {}
        self._clients: Counter[str] = Counter()
        self._turn = asyncio.Lock()

    async def verdict(self, users: Mapping[str, str], name: str, password: bytes, client: str) -> Verdict:
        """Whether the password is that user's.

        Args:
            users: The bcrypt hash of each user's password; at least one.
            name: Who it is said to be.
            password: What was sent.
            client: Where from.
        """
        # One who isn't there is held to another's hash, for nothing: it must not be told by the time which names exist.
        hashed = users.get(name) or self._stand_in(users, name)
        digest = self._digest(name.encode(), hashed.encode(), password)
        if hmac.compare_digest(self._right.get(name, b""), digest):
            return Verdict.RIGHT
        if digest in self._wrong:
            self._wrong.move_to_end(digest)
            return Verdict.WRONG
        task = self._waiting.get(digest) or self._begin(digest, hashed, password, client)
        if task is None:
            return Verdict.BUSY
        # One who hangs up doesn't make room for the next one as long as the work goes on.
        matches = await asyncio.shield(task) and name in users
        self._remember(name, digest, right=matches)
        return Verdict.RIGHT if matches else Verdict.WRONG

    def _stand_in(self, users: Mapping[str, str], name: str) -> str:
        """Some user's hash, the same for a name each time: their costs may differ."""
        hashes = sorted(users.values())
        return hashes[int.from_bytes(self._digest(name.encode())[:8], "big") % len(hashes)]

    def _digest(self, *parts: bytes) -> bytes:
        lengths = b"".join(len(part).to_bytes(4, "big") for part in parts)
        return hmac.digest(self._secret, lengths + b"".join(parts), hashlib.sha256)

    def _begin(self, digest: bytes, hashed: str, password: bytes, client: str) -> asyncio.Task[bool] | None:
        if len(self._waiting) >= MOST_WAITING or self._clients[client] >= MOST_WAITING_OF_A_CLIENT:
            return None
        task = asyncio.get_running_loop().create_task(self._matches(hashed, password))
        self._waiting[digest] = task
        self._clients[client] += 1
        task.add_done_callback(lambda _task: self._done(digest, client))
        return task

    def _done(self, digest: bytes, client: str) -> None:
        del self._waiting[digest]
        self._clients[client] -= 1
        self._clients += Counter()  # without those that wait no more

    async def _matches(self, hashed: str, password: bytes) -> bool:
        async with self._turn:
            began = time.monotonic()
            matches = await _in_thread(hashed, password)
            if not matches:
                await asyncio.sleep(PAUSE_FACTOR * (time.monotonic() - began))
        return matches

    def _remember(self, name: str, digest: bytes, *, right: bool) -> None:
        if right:
            self._right[name] = digest  # one for each user, so that no stranger can push it out
        else:
            self._wrong[digest] = None
            while len(self._wrong) > REMEMBERED_WRONG:
                self._wrong.popitem(last=False)


async def _in_thread(hashed: str, password: bytes) -> bool:
    """Compare in a thread of its own: a pool's would be waited for at the end of the process, for seconds maybe."""
    loop = asyncio.get_running_loop()
    matches: asyncio.Future[bool] = loop.create_future()

    def settle(value: bool) -> None:  # noqa: FBT001  the loop hands it over by position
        if not matches.done():
            matches.set_result(value)

    def compare() -> None:
        value = _compare(hashed, password)
        try:
            loop.call_soon_threadsafe(settle, value)
        except RuntimeError:  # the loop has ended meanwhile
            return

    threading.Thread(target=compare, name="password", daemon=True).start()
    return await matches


def _compare(hashed: str, password: bytes) -> bool:
    import bcrypt  # noqa: PLC0415  loaded with the web config that has users

    try:
        return bcrypt.checkpw(password[:_BCRYPT_BYTES], hashed.encode())
    except ValueError:  # a password with a NUL, which some versions refuse
        return False
