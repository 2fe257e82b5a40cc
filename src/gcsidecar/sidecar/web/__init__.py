"""The HTTP server: metrics, health, a landing page; one thread, whoever connects and however slowly."""
