# What the installers of the environments share; sourced, not run. Before it they set NAME (in
# messages), VENV and REQUIREMENTS; after it they call `begin`, install, and call `finish`.
#   PYTHON       the interpreter to use (default python3.11)
#   TORCH_INDEX  package index for torch and torchvision, e.g. one with CPU wheels (default: none)
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PYTHON=${PYTHON:-python3.11}
TORCH_INDEX=${TORCH_INDEX:-}
TORCH_VERSION=2.13.0
TORCHVISION_VERSION=0.28.0
SHIM=scripts/torchvision_operators.py
STAMP=$VENV/.complete

say() { echo "$NAME: $*"; }
stop() { say "$*" >&2; exit 1; }

# pip without its remarks on index folders that are not there; its errors stay visible.
install() {
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check "$@" 2>&1 |
        sed '/^WARNING: Location /d' >&2 ||
        stop "pip could not install: $*. Is the package index in reach? Run this again to go on."
}

install_torch() {
    say "torch $TORCH_VERSION"
    local from=(${TORCH_INDEX:+--index-url "$TORCH_INDEX"})
    install "${from[@]}" "torch==$TORCH_VERSION"
    # Without its requirements: torchvision's own pin of torch would undo the choice just made.
    install "${from[@]}" --no-deps "torchvision==$TORCHVISION_VERSION"
}

has_gpu() { command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1; }

# Ends the script where VENV is complete and made from the same inputs; else makes it anew, or goes
# on with a broken attempt.
begin() {
    INPUTS=$(cat "scripts/${0##*/}" scripts/environment.sh "$REQUIREMENTS" "$SHIM" |
        sha256sum | cut -d' ' -f1)
    if [[ -f $STAMP && $(<"$STAMP") == "$INPUTS" ]] && "$VENV/bin/python" -c '' 2>/dev/null; then
        say "$VENV is complete"
        exit 0
    fi
    command -v "$PYTHON" >/dev/null ||
        stop "no $PYTHON on this machine: install Python 3.11, or set PYTHON=/path/to/python3.11"
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' ||
        stop "$PYTHON is $("$PYTHON" --version 2>&1), but Python 3.11 is needed (set PYTHON=)"
    rm -f "$STAMP"
    if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
        say "new environment $VENV"
        "$PYTHON" -m venv --clear "$VENV" >&2 ||
            stop "$PYTHON cannot make environments (on Debian and Ubuntu: install python3.11-venv)"
    fi
}

# finish WHAT MODULES: puts the import hook in place, imports MODULES, and notes what VENV is made of.
finish() {
    local site
    site=$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    cp "$SHIM" "$site/torchvision_operators.py"
    echo 'import torchvision_operators; torchvision_operators.install()' \
        >"$site/torchvision_operators.pth"
    "$VENV/bin/python" -c "import $2" 2>"$VENV/check.log" ||
        stop "$1 is installed in $VENV but does not import: $(tail -n 1 "$VENV/check.log")"
    rm "$VENV/check.log"
    echo "$INPUTS" >"$STAMP"
    say "$VENV is complete"
}
