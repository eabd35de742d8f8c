#!/usr/bin/env bash
# Installs the browser that tests of pages need, and fonts, where Debian's packages are to be had. Elsewhere those tests say what is missing.
set -euo pipefail

if command -v chromium >/dev/null; then
  exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "No chromium here, and no way to install it: tests of pages will say so." >&2
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q -o Acquire::Retries=3
apt-get install -q -y -o Acquire::Retries=3 --no-install-recommends chromium fonts-dejavu-core fonts-liberation
