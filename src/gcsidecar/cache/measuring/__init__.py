"""Measuring what folders take, and what a root may still take of its own budget. Nothing is changed by it."""
