"""The history of a root: what happened in it, kept in `.gcsidecar/history.sqlite`, so that it outlives a restart.

Nothing that keeps folders safe rests on it: whatever becomes of the file, evictions go on as they would without.
"""
