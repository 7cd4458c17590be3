#!/bin/sh
# SPDX-License-Identifier: MIT
# Make the configure script from a checkout; a release tarball has it already.
set -e
cd "$(dirname "$0")"
mkdir -p build-aux m4
exec autoreconf --install --force --warnings=all,no-obsolete
