"""The process: config, service, metrics, web, command line."""
