"""The `gcsidecar lease` commands: leases for shells, taken by our client, and a look at who holds what."""
