"""Walking through trees to know what they take: one tree at a time, as fast as Python can. Nothing is changed by it."""
