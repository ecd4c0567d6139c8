"""Tiny benchmarks of drawn pictures, in the layouts that others publish."""

import json
import sys
from pathlib import Path

from chain_cases import draw

ROOT = Path(__file__).parent.parent


def write_lines(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def edit_line(folder, number, **more):
    """A line about an edit; `number` decides its pictures."""
    names = {"source_image": f"source-{number}.png", "edited_image": f"edited-{number}.png"}
    for i, name in enumerate(names.values()):
        draw(folder / name, 10 * number + i)
    return {"id": f"e{number}", **names, "instruction": f"Make change {number}.", **more}


def gen_line(folder, number, **more):
    draw(folder / f"{number}.png", number)
    line = {"id": number, "prompt": f"A cat and {number // 2} dogs.", "image": f"{number}.png"}
    return {**line, **more}


def firm_edit(folder, rows=12):
    """Rows, and human scores in a file of their own, some on one axis alone."""
    lines = [edit_line(folder, n) for n in range(rows)]
    scores = [
        {"id": line["id"], "execution": 1 + n % 5, "consistency": None if n % 4 == 3 else 5 - n % 5}
        for n, line in enumerate(lines)
    ]
    write_lines(folder / "bench_v1.jsonl", lines)
    write_lines(folder / "result" / "human_bench_v1.jsonl", scores)
    return folder


def firm_gen(folder, rows=12):
    """One file, scores beside the rows."""
    lines = [
        gen_line(folder, n, score=1 + n % 5, difficulty=("easy", "hard")[n % 2])
        for n in range(rows)
    ]
    return write_lines(folder / "gen.jsonl", lines)


def editreward(folder, rows=12, tasks=3):
    """EditReward-Bench's layout, on all three dimensions in turn."""
    dimensions = ("prompt_following", "consistency", "overall")
    lines = []
    for n in range(rows):
        names = [f"in-{n}.png", f"a-{n}.png", f"b-{n}.png"]
        for i, name in enumerate(names):
            draw(folder / name, 10 * n + i)
        lines.append(
            {
                "key": [f"k{n}a", f"k{n}b"],
                "instruction": f"Make change {n}.",
                "input_image": names[0],
                "output_images": names[1:],
                "task_type": f"task {n // 3 % tasks}",
                "dimension": dimensions[n % 3],
            }
        )
    return write_lines(folder / "pairs.jsonl", lines)


def gen_pairs(folder, rows=10):
    """Pairs of generated pictures, with names for columns and choices as GenAI-Bench has them."""
    lines = []
    for n in range(rows):
        for i, side in enumerate(("left", "right")):
            draw(folder / f"{side}-{n}.png", 10 * n + i)
        vote = ("leftvote", "rightvote", "tievote", "rightvote", "bothbad_vote")[n % 5]
        line = {"prompt": f"A cat and {n} dogs.", "vote_type": vote}
        lines.append(line | {f"{s}_image": f"{s}-{n}.png" for s in ("left", "right")})
    return write_lines(folder / "votes.jsonl", lines)


GEN_PAIR_WORDS = (
    "--column", "first_image=left_image", "--column", "second_image=right_image",
    "--column", "choice=vote_type", "--choice", "first=leftvote", "--choice", "second=rightvote",
    "--choice", "tie=tievote", "--choice", "tie=bothbad_vote",
)  # fmt: skip


def bench_command(bench, out, data, url, *words):
    """The command as a person gives it, to be run in ROOT."""
    command = [sys.executable, "-m", "foundry.evals.run", bench, "--endpoint", url]
    return [*command, "--model", "stub", "--data", str(data), "--out", str(out), *words]
