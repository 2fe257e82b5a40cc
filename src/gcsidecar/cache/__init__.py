"""Folders on disk as Disposables: roots, leases, sizes, eviction, removal, watching."""
