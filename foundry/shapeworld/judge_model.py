"""The network of the bundled judge: a Qwen3-VL of under three million parameters."""

# The imports below live in the server's environment, where this runs.
# pyright: reportMissingImports=false
from __future__ import annotations

from dataclasses import dataclass
from types import MethodType
from typing import Any

from foundry.patches import embed_patches_by_product
from foundry.shapeworld import judge_tokenizer as words

SIDE_PX = 96
PATCH_PX = 8
# A vision token covers 2 x 2 patches.
SIDE_TOKENS = SIDE_PX // PATCH_PX // 2
TOKENS_A_PICTURE = SIDE_TOKENS**2


@dataclass(frozen=True, kw_only=True)
class Size:
    """Layers and widths of the text half and of the vision half; heads are 32 wide."""

    text_layers: int
    text_width: int
    text_inner: int
    vision_layers: int
    vision_width: int
    vision_inner: int


# The bundled judge: at most three million parameters.
SMALL = Size(
    text_layers=4,
    text_width=192,
    text_inner=416,
    vision_layers=3,
    vision_width=128,
    vision_inner=320,
)


def new_model(tokenizer: Any, size: Size) -> Any:
    """A `Qwen3VLForConditionalGeneration` with random weights, from torch's current seed."""
    import torch
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    token = tokenizer.convert_tokens_to_ids
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": size.text_width,
            "intermediate_size": size.text_inner,
            "num_hidden_layers": size.text_layers,
            "num_attention_heads": size.text_width // 32,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "max_position_embeddings": 32768,
            "initializer_range": 0.05,
            "rope_parameters": {
                "rope_type": "default",
                # Positions are told apart within a picture of 6 x 6 tokens, not over a book.
                "rope_theta": 100.0,
                "mrope_section": [6, 5, 5],
                "mrope_interleaved": True,
            },
            "tie_word_embeddings": True,
            "bos_token_id": None,
            "eos_token_id": token(words.END),
            "pad_token_id": token(words.END_OF_TEXT),
        },
        vision_config={
            "depth": size.vision_layers,
            "hidden_size": size.vision_width,
            "intermediate_size": size.vision_inner,
            "num_heads": size.vision_width // 32,
            "out_hidden_size": size.text_width,
            "patch_size": PATCH_PX,
            "num_position_embeddings": (SIDE_PX // PATCH_PX) ** 2,
            "deepstack_visual_indexes": [0],
            "initializer_range": 0.05,
        },
        tie_word_embeddings=True,
        image_token_id=token(words.IMAGE),
        video_token_id=token(words.VIDEO),
        vision_start_token_id=token(words.VISION_START),
        vision_end_token_id=token(words.VISION_END),
    )
    model = Qwen3VLForConditionalGeneration(config)
    # As strong as what is seen: from a weak start, where things are is learnt much later.
    torch.nn.init.normal_(model.model.visual.pos_embed.weight, std=1.0)
    model.generation_config.eos_token_id = token(words.END)
    model.generation_config.pad_token_id = token(words.END_OF_TEXT)
    return model


def hasten(model: Any) -> None:
    """Let the vision half compute the same faster, for pictures that are all SIDE_PX squared.

    Its patches as one matrix product, where the library convolves; places computed for one picture
    and all pictures in one call of attention, where it loops over them.
    """
    visual = model.model.visual
    embed_patches_by_product(visual)
    model.model.get_image_features = MethodType(_see_alike, model.model)
    for block in visual.blocks:
        block.attn.forward = MethodType(_attend_within_pictures, block.attn)


def _see_alike(model: Any, pixel_values: Any, image_grid_thw: Any, **_unused: Any) -> Any:
    """`get_image_features` of pictures of one size, with axes (picture, patch, width) within."""
    from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures
    from transformers.vision_utils import (
        get_vision_interpolation_indices_and_weights,
        get_vision_position_ids,
    )

    visual, one = model.visual, image_grid_thw[:1]
    merge = visual.spatial_merge_size
    indices, weights = get_vision_interpolation_indices_and_weights(
        one,
        num_grid_per_side=visual.num_grid_per_side,
        mode=visual.interpolation_mode,
        align_corners=visual.interpolation_align_corners,
        spatial_merge_size=merge,
    )
    places = (visual.pos_embed(indices) * weights[:, :, None]).sum(1)
    patches = visual.patch_embed(pixel_values.type(visual.dtype))
    hidden = patches.unflatten(0, (-1, len(places))) + places.to(patches.dtype)
    turned = visual.rotary_pos_emb(hidden, get_vision_position_ids(one, merge))
    deep = []
    for i, block in enumerate(visual.blocks):
        hidden = block(hidden, cu_seqlens=None, position_embeddings=turned)
        if i in visual.deepstack_visual_indexes:
            merger = visual.deepstack_merger_list[visual.deepstack_visual_indexes.index(i)]
            deep.append((merger(hidden),))
    return BaseModelOutputWithDeepstackFeatures(
        last_hidden_state=hidden, pooler_output=(visual.merger(hidden),), deepstack_features=deep
    )


def _attend_within_pictures(
    attention: Any, hidden: Any, position_embeddings: Any, **_unused: Any
) -> Any:
    from torch.nn.functional import scaled_dot_product_attention
    from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb_vision

    by_head = attention.qkv(hidden).unflatten(-1, (3, attention.num_heads, -1))
    queries, keys, values = by_head.unbind(-3)
    queries, keys = apply_rotary_pos_emb_vision(queries, keys, *position_embeddings)
    by_picture = (x.transpose(-3, -2) for x in (queries, keys, values))
    seen = scaled_dot_product_attention(*by_picture, scale=attention.scaling)
    return attention.proj(seen.transpose(-3, -2).flatten(-2))


def new_processor(tokenizer: Any) -> Any:
    """The `Qwen3VLProcessor` that goes with the model.

    It scales a larger picture down to SIDE_PX squared pixels, 36 tokens; the model saw no others.
    """
    from transformers import Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor

    settings = {
        "patch_size": PATCH_PX,
        # A little over: at the bound itself, rounding would cost some pictures a row of tokens.
        "size": {"shortest_edge": (4 * PATCH_PX) ** 2, "longest_edge": (SIDE_PX + 1) ** 2},
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    }
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(**settings),
        video_processor=Qwen3VLVideoProcessor(**settings),
        tokenizer=tokenizer,
        chat_template=words.CHAT_TEMPLATE,
    )


def count_parameters(model: Any) -> int:
    """Numbers in the model; an embedding that is also the output layer counts once."""
    return sum(parameter.numel() for parameter in model.parameters())
