"""The library: Disposables, and the garbage collector that disposes of the least recently used of them.

It knows no folders, no YAML and no HTTP, and is usable alone: `from gcsidecar import GarbageCollector`.
"""
