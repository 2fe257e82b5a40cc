"""Prints the Kubernetes PrometheusRule of deploy/prometheus/rules/: the same text, wrapped for the operator.

It changes no rule; the rules have one source, and this isn't it. `make rules` writes what it prints.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

RULES = Path(__file__).parent.parent / "deploy/prometheus/rules/gcsidecar.rules.yaml"
HEAD = """\
# Made from deploy/prometheus/rules/gcsidecar.rules.yaml by `make rules`; a test fails when the two differ.
#
# For the Prometheus operator 0.66 or newer (keep_firing_for). If your Prometheus selects its rules by labels
# (spec.ruleSelector), add them with kustomize.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: gcsidecar
  labels:
    app.kubernetes.io/name: gcsidecar
spec:
"""


def prometheusrule(rules: str) -> str:
    """The manifest, from the text of a rules file."""
    _, begin, groups = rules.partition("\ngroups:\n")
    if not begin:
        msg = f"{RULES}: it has no line `groups:`; is it a rules file?"
        raise SystemExit(msg)
    return HEAD + textwrap.indent("groups:\n" + groups, "  ")


if __name__ == "__main__":
    sys.stdout.write(prometheusrule(RULES.read_text()))
