"""watchdog's own observer on a tree: what others watch a cache with. Prints a line for each file that is made.

A program of its own: `python -m bench.plain_watcher PATH`; it prints a line once it watches.
"""

from __future__ import annotations

import sys
import threading

from watchdog.events import DirCreatedEvent, FileCreatedEvent, FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer


class _Printer(FileSystemEventHandler):
    def on_created(self, event: FileSystemEvent) -> None:
        if isinstance(event, FileCreatedEvent):
            print(event.src_path, flush=True)


def main(path: str) -> None:
    observer = Observer()
    # It would hear of the directories that it opens itself, too: of 10,000 these fill the queue, again and again.
    observer.schedule(_Printer(), path, recursive=True, event_filter=[FileCreatedEvent, DirCreatedEvent])
    observer.start()
    print("watching", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
