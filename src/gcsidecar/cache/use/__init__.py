"""Whether a folder is in use: by leases, by locks that tools keep, by what processes have open."""
