"""A reward server of several processes at one address."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from real_servers import wait_for
from reward_cases import picture

from foundry.rewards.client import gen_item, score

N = 2


def workers(rewards):
    """Process ids of those that serve."""
    pid = rewards.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [
        int(child)
        for child in children
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def item(number):
    return gen_item(f"{number} hats.", picture(number))


def count(rewards, name):
    lines = rewards.get("/metrics")[1].splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def test_workers_answer_together_keep_one_limit_and_end_together(start, judge):
    rewards = start(workers=N, max_waiting=4, max_items=4, trainer_wire={"port": 0})
    assert len(workers(rewards)) == N
    items = [item(n) for n in range(12)]
    assert all(one["valid"] for one in score(rewards.url, items, batch=1, at_once=4))
    # Whoever is asked tells of all.
    assert {count(rewards, "reward_items_total{") for _ in range(8)} == {12}
    judge.become(latency_s=(15.0, 15.0))
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(rewards.post, {"items": [item(50 + n)]}) for n in range(4)]
        wait_for(lambda: count(rewards, "reward_questions_at_work ") == 4, what="four at work")
        # The limit is of both, whichever has the four.
        assert {rewards.post({"items": [item(n)]})[0] for n in range(6)} == {429}
        before = workers(rewards)
        rewards.process.send_signal(signal.SIGTERM)
        answers = [one.result() for one in asked]
    assert [status for status, _ in answers] == [200] * 4
    assert all(json.loads(text)["items"][0]["valid"] for _, text in answers)
    assert rewards.process.wait(30) == 0
    assert not [pid for pid in before if Path(f"/proc/{pid}").exists()]


def test_a_worker_that_dies_is_replaced_and_what_it_held_is_free(start, judge):
    rewards = start(workers=N, max_waiting=2, max_items=2)
    judge.become(latency_s=(60.0, 60.0))
    with ThreadPoolExecutor(2) as pool:
        lost = [pool.submit(rewards.post, {"items": [item(n)]}) for n in range(2)]
        wait_for(lambda: count(rewards, "reward_questions_at_work ") == 2, what="two at work")
        old = workers(rewards)
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        for one in lost:
            assert one.exception() is not None
    judge.become(latency_s=(0.0, 0.0))
    wait_for(lambda: len(set(workers(rewards)) - set(old)) == N, what="new workers")
    assert score(rewards.url, [item(7)])[0]["valid"]
    assert count(rewards, "reward_questions_at_work ") == 0


def test_workers_of_a_parent_that_is_killed_end(start):
    rewards = start(workers=N)
    left = workers(rewards)
    rewards.process.kill()
    rewards.process.wait()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left), 20, what="their end")
