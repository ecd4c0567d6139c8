#!/usr/bin/env bash
# Make the environment of the trainers, beside those of the factory and of the vLLM server.
#
#   bash scripts/install_train.sh [FOLDER]        FOLDER defaults to .venv-train
#
# With an NVIDIA GPU it gets bitsandbytes too, which QLoRA needs.
# Does nothing when FOLDER is complete and made from the same inputs; continues a broken attempt.
# PYTHON and TORCH_INDEX as in environment.sh.
set -euo pipefail
NAME=install_train
VENV=${1:-.venv-train}
BITSANDBYTES_VERSION=0.50.2
REQUIREMENTS=requirements/train.txt
source "$(dirname "$0")/environment.sh"

begin
install_torch
say "TRL, peft and what they need ($REQUIREMENTS)"
install -r "$REQUIREMENTS"
if has_gpu; then
    install "bitsandbytes==$BITSANDBYTES_VERSION"
fi
install --no-deps -e .
finish TRL "torchvision, trl, peft"
