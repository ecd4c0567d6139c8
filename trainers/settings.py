"""The recipe of a training: every setting of a run, checked before anything is loaded."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from pipelines.settings import Settings


def _as_list(value: Any) -> Any:
    """One stands for a list of one."""
    return [value] if isinstance(value, str) else value


class Lora(Settings):
    """Train low-rank matrices beside the linear layers of the language model, not its weights.

    `four_bit` loads the weights that stay as they are in 4 bits (QLoRA, arXiv 2305.14314).
    """

    rank: int = Field(default=64, ge=1)
    alpha: int = Field(default=128, ge=1)
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    four_bit: bool = False


class Evaluation(Settings):
    """What is measured during training, on the same rows of the validation split each time.

    `every_steps` 0 measures before and after the training alone, `rows` 0 never. A reply that is
    longer than `max_new_tokens` counts as one that cannot be read.
    """

    every_steps: int = Field(default=0, ge=0)
    rows: int = Field(default=400, ge=0)
    batch: int = Field(default=8, ge=1)
    max_new_tokens: int = Field(default=768, ge=8)


class TrainingRecipe(Settings):
    """What all trainers need. Paths are relative to the folder that the run is started in.

    `batch` is the rows of one step of the optimiser, on all devices together; `device_batch` those
    that one device computes at once. `warm_up` is the share of the steps with a rising learning
    rate. `steps` ends the training there, whatever `epochs` says. With `freeze_vision` the vision
    encoder, its mergers included, stays as it is. `workers` processes a device prepare pictures;
    with 0 the trainer does it itself. Empty `precision` and `attention` are the best of what the
    machine has. The moments of `adamw_8bit` are of 8 bits (arXiv 2110.02861, bitsandbytes).
    """

    model: str = Field(min_length=1, description="A folder, or a name on the Hub.")
    revision: str | None = None
    data: Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(min_length=1)]
    output: str = Field(min_length=1, description="The run's folder.")
    seed: int = Field(default=0, ge=0)
    batch: int = Field(default=64, ge=1)
    device_batch: int = Field(default=1, ge=1)
    epochs: float = Field(default=1.0, gt=0)
    steps: int | None = Field(default=None, ge=1)
    learning_rate: float = Field(default=1e-5, gt=0)
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    warm_up: float = Field(default=0.1, ge=0.0, lt=1.0)
    weight_decay: float = Field(default=0.0, ge=0.0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    optimizer: Literal["adamw", "adamw_8bit"] = "adamw"
    lora: Lora | None = None
    freeze_vision: bool = False
    gradient_checkpointing: bool = True
    precision: Literal["bfloat16", "float32"] | None = None
    attention: Literal["sdpa", "flash_attention_2", "eager"] | None = None
    workers: int = Field(default=4, ge=0)
    evaluation: Evaluation = Evaluation()
    save_every_steps: int = Field(default=200, ge=1)
    keep_checkpoints: int = Field(default=2, ge=1)
    log_every_steps: int = Field(default=10, ge=1)
    loggers: tuple[Literal["tensorboard", "trackio", "wandb"], ...] = ()

    @model_validator(mode="after")
    def _batches_add_up(self) -> TrainingRecipe:
        if self.batch % self.device_batch:
            raise ValueError(
                f"batch {self.batch} is not a multiple of device_batch {self.device_batch}"
            )
        return self


class SftRecipe(TrainingRecipe):
    """Recipe of `trainers.sft`: `score_only_share` of the rows is trained without reasoning.

    With `evidence` the reasoning tells first what the judge had before it, in words of the picture:
    the differences of an edit, or what was seen of each checklist item.
    """

    score_only_share: float = Field(default=0.2, ge=0.0, le=1.0)
    evidence: bool = False


class DpoRecipe(TrainingRecipe):
    """Recipe of `trainers.dpo`: `beta` says how dear it is to stray from the model before training.

    Source: DPO (arXiv 2305.18290).
    """

    beta: float = Field(default=0.1, gt=0)
