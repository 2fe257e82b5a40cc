"""What the sidecar costs, measured on the real process: a module for each figure, all run by `python -m bench`."""
