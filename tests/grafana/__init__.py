"""As much of Grafana as tests and pictures of dashboards need: it fills in variables, asks Prometheus, and draws."""
