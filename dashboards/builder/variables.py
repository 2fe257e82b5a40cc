"""The variables: which datasource, job, instances and roots a dashboard shows.

Each follows the ones before it, and is asked for anew when the time range changes: a fleet comes and goes.
"""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

from builder.panels import DATASOURCE

ALL = model.VariableOption(selected=True, text="All", value="$__all")


def datasource() -> build.DatasourceVariable:
    """Which Prometheus."""
    return build.DatasourceVariable("datasource").label("Data source").type("prometheus")


def many(name: str, label: str, query: str) -> build.QueryVariable:
    """Any number of values, all of them at first."""
    variable = one(name, label, query).multi(multi=True).include_all(include_all=True)
    return variable.current(ALL)


def one(name: str, label: str, query: str) -> build.QueryVariable:
    """One value."""
    variable = build.QueryVariable(name).label(label).query(query).datasource(DATASOURCE)
    return variable.refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(model.VariableSort.NATURAL_ASC)


def of_fleet() -> list[build.DatasourceVariable | build.QueryVariable]:
    """For dashboards of any number of sidecars."""
    return [
        datasource(),
        many("job", "Job", "label_values(gcsidecar_build_info, job)"),
        # Of `up`, so that one which is down all the time can be chosen, too.
        many("instance", "Instance", 'label_values(up{job=~"$job"}, instance)'),
    ]


def of_sidecar() -> list[build.DatasourceVariable | build.QueryVariable]:
    """For dashboards of one sidecar."""
    info = 'gcsidecar_filesystem_info{job="$job", instance="$instance", root=~"$root"}'
    return [
        datasource(),
        one("job", "Job", "label_values(gcsidecar_build_info, job)"),
        one("instance", "Instance", 'label_values(gcsidecar_build_info{job="$job"}, instance)'),
        many("root", "Root", 'label_values(gcsidecar_root_role{job="$job", instance="$instance"}, root)'),
        many("filesystem", "Filesystem", f"label_values({info}, filesystem)").hide(model.VariableHide.HIDE_VARIABLE),
    ]
