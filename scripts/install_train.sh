#!/usr/bin/env bash
# Make the environment of the trainers, beside those of the factory and of the vLLM server.
#
#   bash scripts/install_train.sh [FOLDER]        FOLDER defaults to .venv-train
#
# With an NVIDIA GPU it gets bitsandbytes too, which QLoRA needs.
# Does nothing when FOLDER is complete and made from the same inputs; continues a broken attempt.
#   PYTHON       the interpreter to use (default python3.11)
#   TORCH_INDEX  package index for torch and torchvision, e.g. one with CPU wheels (default: none)
set -euo pipefail
cd "$(dirname "$0")/.."

VENV=${1:-.venv-train}
PYTHON=${PYTHON:-python3.11}
TORCH_INDEX=${TORCH_INDEX:-}
TORCH_VERSION=2.13.0
TORCHVISION_VERSION=0.28.0
BITSANDBYTES_VERSION=0.50.2
REQUIREMENTS=requirements/train.txt
SHIM=scripts/torchvision_operators.py
STAMP=$VENV/.complete

say() { echo "install_train: $*"; }
stop() { say "$*" >&2; exit 1; }

# pip without its remarks on index folders that are not there; its errors stay visible.
install() {
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check "$@" 2>&1 |
        sed '/^WARNING: Location /d' >&2 ||
        stop "pip could not install: $*. Is the package index in reach? Run this again to go on."
}

inputs=$(cat "$0" "$REQUIREMENTS" "$SHIM" | sha256sum | cut -d' ' -f1)
if [[ -f $STAMP && $(<"$STAMP") == "$inputs" ]] && "$VENV/bin/python" -c '' 2>/dev/null; then
    say "$VENV is complete"
    exit 0
fi

command -v "$PYTHON" >/dev/null ||
    stop "no $PYTHON on this machine: install Python 3.11, or set PYTHON=/path/to/python3.11"

rm -f "$STAMP"
if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
    say "new environment $VENV"
    "$PYTHON" -m venv --clear "$VENV" >&2 ||
        stop "$PYTHON cannot make environments (on Debian and Ubuntu: install python3.11-venv)"
fi
site=$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

say "torch $TORCH_VERSION"
torch_from=(${TORCH_INDEX:+--index-url "$TORCH_INDEX"})
install "${torch_from[@]}" "torch==$TORCH_VERSION"
# Without its requirements: torchvision's own pin of torch would undo the choice just made.
install "${torch_from[@]}" --no-deps "torchvision==$TORCHVISION_VERSION"
say "TRL, peft and what they need ($REQUIREMENTS)"
install -r "$REQUIREMENTS"
if command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1; then
    install "bitsandbytes==$BITSANDBYTES_VERSION"
fi
install --no-deps -e .

cp "$SHIM" "$site/torchvision_operators.py"
echo 'import torchvision_operators; torchvision_operators.install()' \
    >"$site/torchvision_operators.pth"
"$VENV/bin/python" -c 'import torchvision, trl, peft' 2>"$VENV/check.log" ||
    stop "TRL is installed in $VENV but does not import: $(tail -n 1 "$VENV/check.log")"
rm "$VENV/check.log"
echo "$inputs" >"$STAMP"
say "$VENV is complete"
