"""A process that writes a history as fast as it can, and says what it has written; to be killed."""

from __future__ import annotations

import itertools
import os
import random
import sys

from gcsidecar.cache.history.basis import Basis
from gcsidecar.cache.history.database import Database
from gcsidecar.cache.history.limits import Limits
from gcsidecar.cache.history.records import Arrival, Departure, How, Record, Use

BASIS = Basis("{folder}/.lease", "mtime", "user=0")


def main(root: str, seed: int) -> None:
    """Write until the end."""
    os.makedirs(f"{root}/.gcsidecar", exist_ok=True)
    chance, directory_fd = random.Random(seed), os.open(f"{root}/.gcsidecar", os.O_RDONLY)
    database = Database(directory_fd, Limits.within(2000, 1 << 20, 1 << 40), BASIS, 1.0)
    first = max((one.inode for some in database.present() for one in some), default=0) + 1
    for number in itertools.count(first):
        name = f"f{chance.randrange(500)}"
        records: list[Record] = [Arrival(name, number, float(number)), Use(name, number, float(number), 1, 1)]
        if chance.random() < 0.4:
            other = f"g{number}"
            records += [Departure(other, number, float(number), How.REMOVED), Arrival(f"h{number}", number, 1.0)]
            records += [Departure(f"h{number}", number, float(number), How.EVICTED)]
        database.write(records)
        print(f"{number};", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
