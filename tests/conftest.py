"""Fixtures of the real servers; each starts once a test run, when the first test asks for it."""

import pytest
from real_servers import VllmProcess, prefect_server


@pytest.fixture(scope="session")
def prefect_env(tmp_path_factory):
    """The environment for commands that talk to a real Prefect server."""
    with prefect_server(tmp_path_factory.mktemp("prefect")) as env:
        yield env


@pytest.fixture(scope="session")
def vllm(tmp_path_factory):
    """A real vLLM server with the bundled judge."""
    server = VllmProcess(tmp_path_factory.mktemp("vllm") / "server.log")
    server.start()
    yield server
    server.stop()
