"""Clients, rows and chains for tests of the machinery: real code above, the stub below."""

import asyncio
import json
from contextlib import asynccontextmanager
from hashlib import sha256

from PIL import Image

from pipelines.chains import run_chain
from pipelines.chat import Chat
from pipelines.endpoints import EndpointPool, ServerState
from pipelines.picture_hash import colour_signature
from pipelines.questions import Question, SeenPicture
from pipelines.recipe import EditRecipe, GenRecipe
from pipelines.rows import read_rows, write_rows
from pipelines.shard_run import ShardRun
from pipelines.stages import edit_stages, gen_stages

GOOD = '{"reasoning":"It is red.","score":4}'


@asynccontextmanager
async def chat_to(*urls, outage_timeout_s=10.0, extra_body=None, **settings):
    """A client of these servers; `settings` are of `ServerState`."""
    plain = {"headers": {}, "pictures": "bytes", "max_in_flight": 64, "timeout_s": 10}
    pool = EndpointPool([ServerState(url=url, **{**plain, **settings}) for url in urls])
    chat = Chat(pool, model="stub", extra_body=extra_body or {}, outage_timeout_s=outage_timeout_s)
    try:
        yield chat
    finally:
        await pool.close()


def question(text="How good is it?", **more):
    return Question(text=text, **{"schema_id": "edit_score.v1", "max_tokens": 800, **more})


def bodies_of(stub):
    """The request bodies that the stub answers from now on."""
    bodies, answer = [], stub._reply

    def reply(body, *rest):
        bodies.append(body)
        return answer(body, *rest)

    stub._reply = reply
    return bodies


def script(stub, *replies):
    """Let the stub give these replies in order, then good ones. Returns the bodies asked with.

    A reply is the text of one choice, a dict of a choice's fields, a list of either, the bytes of
    the whole body, or an exception that the stub answers with.
    """
    bodies, rest = [], list(replies)

    def reply(body, *_):
        bodies.append(body)
        given = rest.pop(0) if rest else [GOOD] * (body.get("n") or 1)
        if isinstance(given, Exception):
            raise given
        return (given if isinstance(given, bytes) else completion(given)), None

    stub._reply = reply
    return bodies


def completion(choices, **more):
    choices = choices if isinstance(choices, list) else [choices]
    value = {"model": "stub", "usage": {"prompt_tokens": 10, "completion_tokens": 5}, **more}
    value["choices"] = [_choice(choice) for choice in choices]
    return json.dumps(value).encode()


def _choice(choice):
    if isinstance(choice, str):
        choice = {"content": choice}
    message = {name: choice.get(name) for name in ("content", "refusal")}
    reason, logprobs = choice.get("finish_reason", "stop"), choice.get("logprobs")
    return {"message": message, "finish_reason": reason, "logprobs": logprobs}


def seen(path):
    data = path.read_bytes()
    return SeenPicture(sha256=sha256(data).hexdigest(), path=str(path), format="PNG")


def draw(path, number):
    """A small picture, different for each number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = (number * 37 % 256, number // 7 % 256, 200)
    Image.new("RGB", (16 + number % 5, 16), colour).save(path)
    return path


def picture(path):
    """The struct that `rows/` holds of a picture that passes through as it is.

    Without a hash, so that no rows are near.
    """
    data = path.read_bytes()
    with Image.open(path) as image:
        facts = {"colour": colour_signature(image)}
    digest = sha256(data).hexdigest()
    facts |= {"format": "PNG", "mode": "RGB", "width": 16, "height": 16, "notes": []}
    shown = {"seen_sha256": digest, "seen_path": str(path), "seen_format": "PNG"}
    size = {"sha256": digest, "path": str(path), "bytes_size": len(data)}
    return {**facts, **shown, **size, "seen_width": 16, "seen_height": 16}


def make_row(number, **columns):
    row = {"row_id": f"{number:020x}", "status": "ok", "split": "train", "source": "drawn"}
    row |= {
        "source_index": number,
        "source_id": None,
        "license": None,
        "notes": [],
        "metadata": None,
    }
    return {**row, "reason": None, "detail": None, "duplicate_of": None, **columns}


def gen_rows(folder, *, prompts=3, pictures=2):
    pairs = [(i, draw(folder / f"{i}-{j}.png", 10 * i + j)) for j in range(pictures)
             for i in range(prompts)]  # fmt: skip
    return [
        make_row(n, prompt=f"A cat and {i} dogs.", image=picture(path))
        for n, (i, path) in enumerate(pairs)
    ]


def edit_rows(folder, *, pairs=3, instructions=2):
    rows = []
    for j in range(instructions):
        for i in range(pairs):
            sides = {
                "source_image": picture(draw(folder / f"{i}-source.png", 10 * i)),
                "edited_image": picture(draw(folder / f"{i}-edited.png", 10 * i + 5)),
            }
            rows.append(make_row(len(rows), instruction=f"Make change {j}.", **sides))
    return rows


def make_recipe(kind, **stages):
    endpoint = {"url": "http://127.0.0.1:1/v1", "model": "stub"}
    roles = ("planner", "judge") if kind == "gen" else ("judge",)
    model = GenRecipe if kind == "gen" else EditRecipe
    source = {"kind": "jsonl", "path": "rows.jsonl"}
    return model.model_validate(
        {"output": "b", "sources": source, "endpoints": dict.fromkeys(roles, endpoint), **stages}
    )


def make_stages(kind, **stages):
    recipe = make_recipe(kind, **stages)
    return gen_stages(recipe) if kind == "gen" else edit_stages(recipe)


def write_bucket(build, kind, rows, *, bucket=0, n_buckets=1):
    """Write one bucket of `rows/`, and `build.json` to go with it."""
    build.mkdir(parents=True, exist_ok=True)
    (build / "build.json").write_text(json.dumps({"kind": kind, "buckets": n_buckets}))
    write_rows(build, bucket, rows, kind=kind, n_buckets=n_buckets, of=str(rows))


async def run_bucket(build, kind, stages, chat, *, bucket=0, at_once=64, on_answer=None):
    """One bucket through its chain, as the flow does it. Returns new rows a table."""

    async def chat_of(role):
        return chat

    more = {"on_answer": on_answer} if on_answer else {}
    run = ShardRun(build, bucket, stages, chat_of=chat_of, **more)
    try:
        await run_chain(kind, read_rows(build, bucket), run, at_once=at_once)
        return run.finish()
    finally:
        run.close()


def run_bucket_at(stub_url, build, kind, stages, **more):
    """The same from plain code, with a client of its own."""

    async def work():
        async with chat_to(stub_url) as chat:
            return await run_bucket(build, kind, stages, chat, **more)

    return asyncio.run(work())
