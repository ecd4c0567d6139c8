"""When it runs: the Prefect flows and their deployments."""
