"""watchdog's own observer on a tree: what others watch a cache with. Prints a line for each file that is made.

A program of its own: `python -m bench.plain_watcher PATH`; it prints a line once it watches.
"""

from __future__ import annotations

import sys
import threading

from watchdog.events import FileCreatedEvent, FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer


class _Printer(FileSystemEventHandler):
    def on_created(self, event: FileSystemEvent) -> None:
        if isinstance(event, FileCreatedEvent):
            print(event.src_path, flush=True)


def main(path: str) -> None:
    observer = Observer()
    observer.schedule(_Printer(), path, recursive=True)
    observer.start()
    print("watching", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
