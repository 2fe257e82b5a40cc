"""Builds Grafana's dashboards: `make dashboards` writes them as JSON beside this package.

What a dashboard asks and says stands in the module of its name; how all of them look, in `panels.py` and `fields.py`.
"""
