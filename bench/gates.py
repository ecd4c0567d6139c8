"""Gates and balance over many rows: time and peak memory, and how both grow with twice the rows.

Rows of generated pictures with hashes given and no picture on disk, as with `originals: reference`:
eight to a prompt, one in twenty nearly the same as another, four in five scored 5. Every gate that
looks at such rows runs, against a benchmark of a thousand prompts and no picture; then scores are
balanced to uniform. Making the rows is not counted, nor is reading them from tables and writing a
dataset.

    python -m bench.gates [--rows 1000000]
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from pipelines.balance import choose_rows
from pipelines.dataset_settings import Balance, Gates
from pipelines.gates.build_gates import make_gate, near_rows_of
from pipelines.gates.contamination import read_benchmarks
from pipelines.picture_hash import COLOUR_BYTES, HASH_BYTES
from pipelines.rows import rows_schema, shard_path
from pipelines.settings import Source
from pipelines.shards import write_shard

SHARD_ROWS = 20_000
ROWS_A_PROMPT = 8
# Some thousand words that mean nothing: runs of eight of them are nobody's common property.
SYLLABLES = ["ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu", "na", "pe"]
WORDS = ["".join(three) + "n" for three in product(SYLLABLES, repeat=3)]

# Of five items, the first two critical, by the score that they come to.
VERDICTS = {
    5: ["yes"] * 5,
    4: ["yes", "yes", "yes", "yes", "no"],
    3: ["yes", "no", "yes", "yes", "yes"],
    2: ["no", "yes", "yes", "yes", "yes"],
    1: ["no"] * 5,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--once", action="store_true", help="measure these rows and print JSON")
    options = parser.parse_args()
    if options.once:
        print(json.dumps(measure(options.rows)))
        return
    found = []
    for rows in (options.rows, 2 * options.rows):
        command = [sys.executable, "-m", "bench.gates", "--once", "--rows", str(rows)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        one = json.loads(done.stdout)
        found.append(one)
        print(
            f"{rows:,} rows: near duplicates {one['near_s']:.0f} s, gates {one['gates_s']:.0f} s, "
            f"balance {one['balance_s']:.0f} s, together {one['seconds']:.0f} s; "
            f"peak {one['peak_gib']:.1f} GiB; rejected {one['rejected']:,}, "
            f"kept by balance {one['kept']:,} {one['scores']}",
            flush=True,
        )
    time_ratio = found[1]["seconds"] / found[0]["seconds"]
    memory_ratio = found[1]["peak_gib"] / found[0]["peak_gib"]
    print(f"twice the rows: {time_ratio:.2f} x the time, {memory_ratio:.2f} x the memory")


def measure(n: int) -> dict[str, Any]:
    """One pass over n rows, in this process alone."""
    with tempfile.TemporaryDirectory() as folder:
        build = Path(folder)
        write_rows(build, n)
        lines = [json.dumps({"text": prompt_of(10**9 + i)}) for i in range(1000)]
        (build / "benchmark.jsonl").write_text("\n".join(lines))
        benchmark = Source(
            kind="jsonl", path=str(build / "benchmark.jsonl"), columns={"prompt": "text"}
        )
        gates = Gates(benchmarks=(benchmark,))
        benchmarks = read_benchmarks(gates.benchmarks)
        making_started = time.perf_counter()
        for _ in dataset_rows(n):
            pass
        making_s = time.perf_counter() - making_started
        started = time.perf_counter()
        near = near_rows_of(build, "gen", gates)
        near_s = time.perf_counter() - started
        gate = make_gate(near, benchmarks, gates, [])
        index, rejected = [], 0
        for row in dataset_rows(n):
            if gate(row) is None:
                index.append((row["row_id"], "train", None, row["score"]))
            else:
                rejected += 1
        gates_s = time.perf_counter() - started - near_s - making_s
        balancing = time.perf_counter()
        schema = {"row_id": pl.String, "split": pl.String, "axis": pl.String, "score": pl.Int64}
        kept, done = choose_rows(
            pl.DataFrame(index, schema=schema, orient="row"),
            Balance(targets={"gen": "uniform"}).shares(),
            tolerance=0.02,
            least_kept=0.0,
            seed=0,
        )
        balance_s = time.perf_counter() - balancing
    return {
        "near_s": near_s,
        "gates_s": gates_s,
        "balance_s": balance_s,
        "seconds": near_s + gates_s + balance_s,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "rejected": rejected,
        "kept": int(kept.sum()),
        "scores": done[0].after,
    }


def prompt_of(number: int) -> str:
    """A prompt, another one for another number."""
    words = random.Random(number).sample(WORDS, 14)
    return f"A {words[0]} {words[1]} beside the {' '.join(words[2:])}, number {number}"


def write_rows(build: Path, n: int) -> None:
    """Shards of `rows/` with the hashes of pictures that are nowhere."""
    schema = rows_schema("gen")
    for shard, start in enumerate(range(0, n, SHARD_ROWS)):
        rows = []
        for i in range(start, min(start + SHARD_ROWS, n)):
            rng = random.Random(i)
            if i % 20 == 1:
                # Nearly the picture before: two bits of its hash are others.
                rng = random.Random(i - 1)
                hashed = rng.randbytes(HASH_BYTES)
                hashed = bytes([hashed[0] ^ 3]) + hashed[1:]
            else:
                hashed = rng.randbytes(HASH_BYTES)
            picture = {"phash": hashed.hex(), "colour": rng.randbytes(COLOUR_BYTES).hex()}
            rows.append(
                {
                    "row_id": f"{i:020x}",
                    "status": "ok",
                    "prompt": prompt_of(i // ROWS_A_PROMPT),
                    "image": picture,
                    "split": "train",
                }
            )
        table = pa.Table.from_pylist(rows, schema=schema)
        write_shard(shard_path(build, shard), table, {"table": "rows"})


def dataset_rows(n: int) -> Iterator[dict[str, Any]]:
    """What a gate sees of scored rows, made anew each time."""
    for i in range(n):
        rng = random.Random(i)
        prompt = prompt_of(i // ROWS_A_PROMPT)
        score = 5 if rng.random() < 0.8 else rng.randint(1, 4)
        words = prompt.replace(",", "").split()
        verdicts = VERDICTS[score]
        yield {
            "row_id": f"{i:020x}",
            "axis": None,
            "prompt": prompt,
            "checklist": [
                {"kind": "attribute", "question": f"Is the {word} as asked?", "critical": k < 2}
                for k, word in enumerate(words[1:6])
            ],
            "verdicts": [
                {"id": k + 1, "evidence": f"The {word} is there.", "verdict": verdict}
                for k, (word, verdict) in enumerate(zip(words[1:6], verdicts, strict=True))
            ],
            "reasoning": f"The {words[2]} can be seen at the {rng.choice(WORDS)} side, and what "
            f"stands beside it is {rng.choice(WORDS)}; number {i} is drawn with care.",
            "score": score,
            "vote_spread": 0.0,
            "score_probs": [0.0, 0.0, 0.0, 0.1, 0.9],
            "image_sha256": f"{i:064x}",
        }


if __name__ == "__main__":
    main()
