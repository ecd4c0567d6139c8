"""What a training needs, by arithmetic alone: bytes on a device and operations of a batch.

Counted are the tensors that PyTorch allocates at the peak: not the CUDA context (about 0.5 GB) nor
what the allocator holds back between them, for which a tenth of a card should stay free.
"""

from __future__ import annotations

from dataclasses import dataclass

# Bytes of one number.
FLOAT32, BFLOAT16 = 4, 2
# bitsandbytes quantises moments in blocks of so many, with a float32 scale each.
_BLOCK = 256
# 4-bit weights: half a byte, and scales that are quantised themselves (arXiv 2305.14314: 0.127 bits
# a parameter).
_FOUR_BITS = (4 + 0.127) / 8
# Tokens and words of the tile in which TRL's output layer works (trl/kernels/chunked_logprob.py).
_TILE = (4096, 32768)
# Patches of the vision encoder that a merger makes one token of.
_PATCHES_MERGED = 4


@dataclass(frozen=True, kw_only=True)
class Part:
    """Parameters of one part of a model. `matrices` are those in its linear layers."""

    parameters: int
    matrices: int
    trained: bool


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A model in numbers: its parts, LoRA's parameters beside them, and the widths of its layers.

    `embedding` are the token embeddings, `head` the output layer (no parameters where it is tied to
    them); `layers` the decoder's blocks, `vision` the encoder with its mergers. A width is of one
    token, or of one patch of the encoder; `queries` and `keys` are heads times head dimension;
    `mergers` are the parameters of the encoder's matrices that run once for four patches.
    """

    embedding: Part
    head: Part
    layers: Part
    vision: Part
    adapters: int
    n_layers: int
    hidden: int
    feed_forward: int
    queries: int
    keys: int
    vocabulary: int
    n_vision_layers: int
    vision_hidden: int
    vision_feed_forward: int
    mergers: int

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts of the model itself."""
        return (self.embedding, self.head, self.layers, self.vision)

    @property
    def trained(self) -> int:
        """Parameters that learn."""
        return self.adapters + sum(part.parameters for part in self.parts if part.trained)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What a device computes at once: sequences padded to `length` tokens each.

    `patches` are those of the vision encoder of all pictures, `longest_picture` the most of one;
    `replies` the tokens that the loss is on.
    """

    sequences: int
    length: int
    patches: int
    longest_picture: int
    replies: int

    @property
    def tokens(self) -> int:
        """All tokens, padding included."""
        return self.sequences * self.length


@dataclass(frozen=True, kw_only=True)
class How:
    """What of a recipe and its devices decides about memory.

    `compute` is bytes of a number in the computation; `frozen` bytes of a weight beside LoRA, and
    `adapter` of one of LoRA's own, of its gradient and of each of its moments; `accumulates`
    whether a step is of several batches; `reference` whether a second, frozen model is held (DPO of
    all weights).
    """

    devices: int
    compute: int
    frozen: float
    adapter: int
    moments_of_8_bits: bool
    checkpointing: bool
    accumulates: bool
    reference: bool


def frozen_bytes(*, four_bit: bool, compute: int, lora: bool) -> float:
    """Bytes of a weight that stays as it is: 4 bits and LoRA in the type of the computation."""
    return _FOUR_BITS if four_bit else compute if lora else FLOAT32


def memory(shape: Shape, batch: Batch, how: How) -> dict[str, float]:
    """Bytes on a device at the peak, by what they are for; `peak` is their sum.

    With several devices weights, gradients and moments are shared among them (FSDP).
    """
    weights = _weights(shape, how) / how.devices
    moments = _moments(shape, how) / how.devices
    learn = shape.trained - shape.adapters
    gradients = (learn * FLOAT32 + shape.adapters * how.adapter) / how.devices
    kept = {"activations": _kept(shape, batch, how)}
    earlier = {"gradients": gradients if how.accumulates else 0.0}
    copies = {"copies": _copies(shape, how)}
    # Those of FSDP come and go with each layer; those of autocast end with the forward pass, unless
    # nothing is computed again.
    lasting = how.devices > 1 or not how.checkpointing
    working = {"working": _working(shape, batch, how), **(copies if lasting else {})}
    moments_of_a_step = (
        earlier | kept | copies,  # the forward pass ends
        earlier | kept | working,  # the backward pass begins
        {"gradients": gradients} | working,  # and ends
    )
    peak = max(moments_of_a_step, key=lambda held: sum(held.values()))
    names = ("gradients", "activations", "copies", "working")
    found = {"weights": weights, "moments": moments} | {name: peak.get(name, 0.0) for name in names}
    return found | {"peak": sum(found.values())}


def _weights(shape: Shape, how: How) -> float:
    total = float(shape.adapters * how.adapter)
    if how.reference:
        total += sum(part.parameters for part in shape.parts) * FLOAT32
    for part in shape.parts:
        if part.trained:
            total += part.parameters * FLOAT32
        elif part is shape.layers:
            rest = part.parameters - part.matrices
            total += part.matrices * how.frozen + rest * max(how.frozen, how.compute)
        else:
            # Only the decoder's layers are quantised.
            total += part.parameters * max(how.frozen, how.compute)
    return total


def _moments(shape: Shape, how: How) -> float:
    """Two of AdamW a parameter that learns; embeddings keep float32 ones."""
    learn = shape.trained - shape.adapters
    if not how.moments_of_8_bits:
        return 2.0 * (learn * FLOAT32 + shape.adapters * how.adapter)
    embedded = shape.embedding.parameters if shape.embedding.trained else 0
    return 2 * (embedded * FLOAT32 + (shape.trained - embedded) * (1 + FLOAT32 / _BLOCK))


def _copies(shape: Shape, how: How) -> float:
    """Weights in the type of the computation, where they are held in another.

    On one device autocast keeps those of all matrices that learn until the end of the forward
    pass; FSDP gathers one layer, and the next one meanwhile, beside the embeddings and the output.
    """
    if how.compute == FLOAT32 and how.devices == 1:
        return 0.0
    if how.devices > 1:
        layers = 2 * shape.layers.parameters / shape.n_layers
        return (layers + shape.embedding.parameters + shape.head.parameters) * how.compute
    learn = sum(p.matrices for p in (shape.layers, shape.vision) if p.trained)
    return (learn + shape.adapters * (how.adapter > how.compute)) * how.compute


def _kept(shape: Shape, batch: Batch, how: How) -> float:
    """Activations from the forward pass: with checkpointing, the input of each layer."""
    residual = _residual(shape, how)
    text = batch.tokens * shape.n_layers
    vision = batch.patches * shape.n_vision_layers if shape.vision.trained else 0
    if how.checkpointing:
        return text * shape.hidden * residual + vision * shape.vision_hidden * FLOAT32
    return text * _layer(shape, how) + vision * _vision_layer(shape, how)


def _residual(shape: Shape, how: How) -> int:
    """Bytes of a number between the layers: float32 where the embeddings are held in it."""
    return FLOAT32 if shape.embedding.trained and how.devices == 1 else how.compute


def _working(shape: Shape, batch: Batch, how: How) -> float:
    """One layer's activations, computed again, with their gradients; or the output layer's tile.

    The gradient of a whole embedding is made before it is added to that of earlier batches.
    """
    layer = batch.tokens * (_layer(shape, how) + 3 * how.compute * shape.feed_forward)
    vision = batch.patches * _vision_layer(shape, how) if shape.vision.trained else 0
    head = min(batch.replies, _TILE[0]) * min(shape.vocabulary, _TILE[1]) * (how.compute + FLOAT32)
    whole = max(p.parameters * p.trained for p in (shape.embedding, shape.head)) * FLOAT32
    return max(layer, vision, head + whole)


def _layer(shape: Shape, how: How) -> int:
    """Bytes a token that a decoder layer keeps for its gradients: norms, attention, gated MLP."""
    residual = _residual(shape, how)
    norms = 2 * shape.hidden * (residual + FLOAT32) + 5 * shape.hidden * how.compute
    heads = (shape.queries + shape.keys) * (FLOAT32 + 3 * how.compute) + shape.queries * how.compute
    gated = 4 * shape.feed_forward * how.compute
    inputs = 5 * shape.hidden + shape.queries + shape.feed_forward
    return norms + heads + gated + (inputs * how.compute if shape.adapters else 0)


def _vision_layer(shape: Shape, how: How) -> int:
    """Bytes a patch that a block of the vision encoder keeps for its gradients."""
    wide = shape.vision_hidden * (4 * FLOAT32 + 8 * how.compute)
    return wide + 3 * shape.vision_feed_forward * how.compute


def model_flops(shape: Shape, batch: Batch, *, reference: bool = False) -> float:
    """Operations of a batch that the model needs, forward and backward.

    With `reference` those of a model besides that runs forward alone, as in DPO.

    As PaLM's MFU counts them (arXiv 2204.02311): 2 a weight and token forward, as many again
    for the gradients of activations and of weights, each where they are needed; attention's
    products besides, of which the decoder needs half. What checkpointing computes again is not
    counted, nor the output layer where there is no loss.
    """
    learns = 3 if shape.layers.trained else 2
    head = 2 * shape.hidden * shape.vocabulary * batch.replies
    attention = 2 * shape.queries * batch.length * batch.tokens * shape.n_layers
    # Both sides of attention's products are activations: their gradients are always needed.
    text = learns * 2 * shape.layers.matrices * batch.tokens + 3 * attention
    text += (3 if shape.head.trained else 2) * head
    seen = 4 * shape.vision_hidden * batch.longest_picture * batch.patches * shape.n_vision_layers
    each = 2 * (shape.vision.matrices - shape.mergers) + 2 * shape.mergers / _PATCHES_MERGED
    vision = each * batch.patches + seen
    needed = text + vision * (3 if shape.vision.trained else 1)
    if not reference:
        return needed
    return needed + 2 * shape.layers.matrices * batch.tokens + attention + head + vision
