#!/bin/sh
# The browser tests drive a real Chromium; on Debian and Ubuntu it is installed here where none is found.
set -eu
for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null 2>&1 && exit 0
done
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null
else
    echo "no Chromium found: install one (chromium or google-chrome) to run the browser tests" >&2
    exit 1
fi
