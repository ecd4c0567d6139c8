"""Fixtures of servers, started when a test first asks: real ones once a test run, the browser and
the stub in a judge's place once a module.
"""

import shutil

import pytest
from playwright.sync_api import sync_playwright
from real_servers import VllmProcess, prefect_server
from reward_cases import rewards_over
from stub_process import stub_process

from foundry.evals import metrics

# The files that take longest, so that no process is left alone with one at the end.
_FIRST = ("vllm", "fsdp", "flows", "sft", "crash", "house", "rewards", "train_judge", "benches")
_FIRST += ("dpo", "grpo_training", "trl", "controls", "publish")


def pytest_collection_modifyitems(items):
    """The long files first, in their order."""
    order = {f"test_{name}.py": place for place, name in enumerate(_FIRST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


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


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    """Intervals of fewer draws, for speed."""
    monkeypatch.setattr(metrics, "RESAMPLES", 100)


@pytest.fixture(scope="module")
def judge():
    """A stub in a judge's place, a process of its own."""
    with stub_process() as stub:
        yield stub


@pytest.fixture
def start(tmp_path, judge):
    """Starts reward servers over the stub, with settings."""
    with rewards_over(judge, tmp_path) as make:
        yield make


# Of a module and no longer: while playwright runs, `asyncio.run` is refused in this thread.
@pytest.fixture(scope="module")
def chromium():
    """A real browser, headless."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.fail("no chromium on this machine: bash scripts/install_chromium.sh")
    with sync_playwright() as playwright:
        # A sandbox needs kernel rights that containers and root do not have.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    """A new page of the browser; what its console reports as an error fails the test."""
    context = chromium.new_context(offline=True)
    page = context.new_page()
    errors = []
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert errors == []
