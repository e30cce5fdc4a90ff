"""Ray Serve deployments: settings, start-up, following promotions, failures of replicas."""
