"""Processes that measure for the sidecar: it stays quick meanwhile, and their memory goes with them."""
