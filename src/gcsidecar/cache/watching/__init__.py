"""Watching folders for hints of change. A hint makes things quick and nothing more: scanning is the truth."""
