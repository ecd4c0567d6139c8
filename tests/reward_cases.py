"""A reward server as a process over a stub judge, for tests."""

import json
import os
import re
import urllib.error
import urllib.request
from contextlib import contextmanager

from PIL import Image
from real_servers import PYTHON, ROOT, background, stop, wait_for

TOKEN = "a-token-of-twenty-ch"


def picture(number):
    return Image.new("RGB", (64, 48), (number * 40 % 256, 90, 160))


class Rewards:
    """A reward server of its own over a judge, with settings."""

    def __init__(self, folder, judge, **settings):
        folder.mkdir(parents=True, exist_ok=True)
        config = {"endpoint": {"url": judge.url, "model": "stub"}, "port": 0, **settings}
        (folder / "reward.yaml").write_text(json.dumps(config))
        command = [PYTHON, "-m", "foundry.rewards.serve", "--config", str(folder / "reward.yaml")]
        self.log = folder / "log"
        env = {**os.environ, "REWARD_TOKEN": TOKEN, "PYTHONPATH": str(ROOT)}
        self.process = background(command, self.log, env=env)
        names = ["rewards", *(["trainers' formats"] if "trainer_wire" in settings else [])]
        told = [f"{name} at (\\S+), mode" for name in names]
        wait_for(
            lambda: all(re.search(one, self.log.read_text()) for one in told),
            what="the reward server",
        )
        # The second, where there is one, is of the trainers' formats.
        self.url, *self.wire = [re.search(one, self.log.read_text())[1] for one in told]

    def post(self, body, token=None):
        """Status and JSON of a raw request."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return fetch(urllib.request.Request(f"{self.url}/v1/score", data, headers))

    def get(self, path):
        return fetch(urllib.request.Request(self.url + path))


@contextmanager
def rewards_over(judge, folder):
    """Starts reward servers with settings; all end, and the judge is well again, at the end."""
    started = []

    def make(**settings):
        started.append(Rewards(folder / str(len(started)), judge, **settings))
        return started[-1]

    try:
        yield make
    finally:
        judge.become(always=None, invalid_json_share=0.0, latency_s=(0.0, 0.0))
        for rewards in started:
            stop(rewards.process)


def fetch(request):
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
