"""What tokens of a batch are asked on the way to a reply, and the loss on that.

Picture tokens tell what they show, and tokens of prompts and instructions how pictures meet what
they ask for. One head of attention is shown where to look: from each place of a second picture to
the same place of the first, and from words to the things that they name.
"""

# The imports below live in the server's environment, where this runs.
# pyright: reportMissingImports=false
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from foundry.shapeworld import judge_tokenizer as words
from foundry.shapeworld.hints import VERDICTS
from foundry.shapeworld.judge_model import SIDE_TOKENS, TOKENS_A_PICTURE
from foundry.shapeworld.judge_packs import Pack
from foundry.shapeworld.judge_tables import IGNORED, table

# Of four text layers, counted from 0. The earlier compares pictures, and its picture tokens tell;
# with the later, words find what pictures show, and the last layer can sum it up.
_COMPARES, _FINDS = 1, 2
_TOKENS_A_CELL = SIDE_TOKENS // 3
# By picture token, row by row: its cell.
_CELL_OF = [
    row // _TOKENS_A_CELL * 3 + column // _TOKENS_A_CELL
    for row in range(SIDE_TOKENS)
    for column in range(SIDE_TOKENS)
]
# By a layer's number: "out", what it gave, and "attention", what its attention was given.
Kept = dict[tuple[int, str], Any]


def hints(packs: Sequence[Pack], tokenizer: Any) -> dict[str, Any]:
    """Tables of what is asked of a batch's tokens, a row each.

    `pictured`: token ids of the words for what a picture token shows, pictures in order. `told_at`:
    row and token of a word that tells something, and in `told` the ids of what. `lookers`: layer,
    row and token of one that looks somewhere, and in `looked_at` the tokens of the same row where.
    """
    image = tokenizer.convert_tokens_to_ids(words.IMAGE)
    told_at, told, lookers, looked_at = [], [], [], []
    for row, pack in enumerate(packs):
        shown = [i for i, token in enumerate(pack.shared) if token == image]
        first, second = shown[:TOKENS_A_PICTURE], shown[TOKENS_A_PICTURE:]
        for there, here in zip(first, second, strict=False):
            lookers.append((_COMPARES, row, here))
            looked_at.append((there,))
        begin = len(pack.shared)
        for part in pack.parts:
            for hint in part.hints:
                told_at.append((row, begin + hint.at))
                told.append(hint.words)
                if hint.cells:
                    lookers.append((_FINDS, row, begin + hint.at))
                    looked_at.append(_tokens_of(hint.cells, shown))
            begin += part.length
    pictured = [seen[cell] for pack in packs for seen in pack.lesson.seen for cell in _CELL_OF]
    return {
        "pictured": _word_ids(pictured, tokenizer),
        "told_at": table(told_at or [[]], IGNORED),
        "told": _word_ids(told, tokenizer),
        "lookers": table(lookers or [[]], IGNORED),
        "looked_at": table(looked_at or [[]], IGNORED),
    }


def _tokens_of(cells: Sequence[tuple[int, int]], shown: Sequence[int]) -> list[int]:
    """Where in a row the tokens of cells stand, each the number of a picture and a cell of it."""
    return [
        shown[picture * TOKENS_A_PICTURE + i]
        for picture, cell in cells
        for i, its_cell in enumerate(_CELL_OF)
        if its_cell == cell
    ]


def _word_ids(told: Sequence[tuple[str, ...]], tokenizer: Any) -> Any:
    """Token ids of words, a row each, IGNORED where no more; a word counts by its first token.

    A verdict is the token that follows its key in a reply, any other word one within a sentence.
    """
    said = {word for some in told for word in some}
    ids = {
        word: tokenizer(word if word in VERDICTS else f" {word}")["input_ids"][0] for word in said
    }
    return table([[ids[word] for word in some] for some in told] or [[]], IGNORED)


@contextmanager
def watched(model: Any) -> Iterator[Kept]:
    """While the model computes, keep what `hint_losses` needs of its layers."""
    kept: Kept = {}
    hooks = []
    for layer in (_COMPARES, _FINDS):
        module = model.model.language_model.layers[layer]

        def keep_output(_module: Any, _given: Any, out: Any, layer: int = layer) -> None:
            kept[layer, "out"] = out

        def keep_input(_module: Any, _given: Any, named: Any, layer: int = layer) -> None:
            kept[layer, "attention"] = named["hidden_states"], named["position_embeddings"]

        hooks.append(module.register_forward_hook(keep_output))
        hooks.append(module.self_attn.register_forward_pre_hook(keep_input, with_kwargs=True))
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()


def hint_losses(
    model: Any, kept: Kept, is_picture: Any, seen: Any, asked: dict[str, Any]
) -> list[Any]:
    """Mean cross entropy, in nats a token, of what picture tokens tell, of what words tell, and of
    where a head looks, in either layer; none of what nothing is asked of.

    All words of a token are equally likely, and all tokens that one should look at. `is_picture`
    says which tokens are of pictures, `seen` which each token sees: (row, token, token).
    """
    losses = []
    if asked["pictured"].numel():
        losses.append(_told_loss(model, kept[_COMPARES, "out"][is_picture], asked["pictured"]))
    if asked["told"].numel():
        rows, tokens = asked["told_at"].T
        losses.append(_told_loss(model, kept[_FINDS, "out"][rows, tokens], asked["told"]))
    for layer in (_COMPARES, _FINDS):
        chosen = asked["lookers"][:, 0] == layer if asked["lookers"].numel() else None
        if chosen is not None and chosen.any():
            attention = model.model.language_model.layers[layer].self_attn
            hidden, turned = kept[layer, "attention"]
            looks = _log_looks(attention, hidden, turned, seen)
            _, rows, tokens = asked["lookers"][chosen].T
            losses.append(_mean_surprise(looks[rows, tokens], asked["looked_at"][chosen]))
    return losses


def _told_loss(model: Any, hidden: Any, told: Any) -> Any:
    logs = model.lm_head(model.model.language_model.norm(hidden)).float().log_softmax(-1)
    return _mean_surprise(logs, told)


def _mean_surprise(logs: Any, wanted: Any) -> Any:
    """Mean of -log over what is wanted, first of each row, then of all rows."""
    there = wanted != IGNORED
    likely = logs.gather(1, wanted.clamp(min=0)).masked_fill(~there, 0).sum(1) / there.sum(1)
    return -likely.mean()


def _log_looks(attention: Any, hidden: Any, turned: Any, seen: Any) -> Any:
    """How a layer's first head looks from each token at each: logs of its weights."""
    from torch.nn.functional import linear
    from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb

    size = attention.head_dim
    queries = attention.q_norm(linear(hidden, attention.q_proj.weight[:size]))[:, None]
    keys = attention.k_norm(linear(hidden, attention.k_proj.weight[:size]))[:, None]
    queries, keys = apply_rotary_pos_emb(queries, keys, *turned)
    weights = (queries @ keys.mT)[:, 0].float() * attention.scaling
    return weights.masked_fill(~seen, float("-inf")).log_softmax(-1).clamp(min=-1e4)
