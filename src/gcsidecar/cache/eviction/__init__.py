"""Taking a folder away, so that whatever crashes nothing in use is lost: the protocol, `.gcsidecar/` and recovery."""
