"""What is known of a root's folders: which there are, the figures of each, and their totals.

It decides nothing: what goes is for the planner, and how for `eviction`.
"""
