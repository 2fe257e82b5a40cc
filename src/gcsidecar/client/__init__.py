"""The Python client: takes a lease on a folder, and gives it back.

It knows no roots but by what their `.gcsidecar/lock` says, and imports next to nothing: every short job pays for it.
"""
