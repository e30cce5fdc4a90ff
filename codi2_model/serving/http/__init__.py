"""The HTTP server: routes, access rules, media of requests, metrics."""
