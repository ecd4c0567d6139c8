#!/usr/bin/env bash
# The browser that the tests open the report and the audit page in. Does nothing where there is one.
set -euo pipefail

command -v chromium >/dev/null || command -v google-chrome >/dev/null && exit 0
[[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || {
    echo "install_chromium: no chromium here; on Debian: sudo apt-get install chromium" >&2
    exit 1
}
echo "install_chromium: from Debian's packages"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
