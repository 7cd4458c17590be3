# SPDX-License-Identifier: MIT
"""Instructions and allocations of t/bench/commands, counted by valgrind's callgrind in its function measured()."""

import json
import os
import re
import subprocess
import tempfile

ALLOCATORS = {"malloc", "calloc", "realloc", "aligned_alloc", "posix_memalign", "memalign"}
NAME = re.compile(r"c?fn=\((\d+)\)(?: (.*))?$")


def allocations(path):
    """How often the C library was asked for memory, by callgrind's calls."""
    names, callee, total = {}, None, 0
    for line in open(path, errors="replace"):
        m = NAME.match(line)
        if m:
            if m.group(2):
                names[m.group(1)] = m.group(2).split("'")[0]
            if line.startswith("c"):
                callee = names.get(m.group(1))
        elif line.startswith("calls=") and callee in ALLOCATORS:
            total += int(line[6:].split()[0])
    return total


def instructions(path):
    for line in open(path, errors="replace"):
        if line.startswith(("summary:", "totals:")):
            return int(line.split()[1])
    raise RuntimeError(f"{path}: no summary")


def count(build, only=None):
    """{(work, "instructions"): for one unit, (work, "allocations"): ..}"""
    commands = os.path.join(build, "t", "bench", "commands")
    run = [os.path.join(build, "libtool"), "--mode=execute"]
    names = subprocess.run(run + [commands, "-l"], capture_output=True, text=True, check=True).stdout.split()
    # Whether the C library copies by one instruction for all octets depends on where they lie; callgrind counts each octet then.
    env = dict(os.environ, GLIBC_TUNABLES="glibc.cpu.x86_rep_movsb_threshold=1000000000")
    out = {}
    for name in names:
        if only and name not in only:
            continue
        with tempfile.TemporaryDirectory(prefix="culver-callgrind.") as tmp:
            file = os.path.join(tmp, "out")
            r = subprocess.run(run + ["valgrind", "-q", "--tool=callgrind", "--zero-before=measured", "--dump-after=measured",
                                      f"--callgrind-out-file={file}", commands, name], capture_output=True, text=True, env=env)
            file += ".1"
            if r.returncode != 0 or not os.path.exists(file):
                raise RuntimeError(f"commands {name}: {r.stderr[-2000:]}")
            units = json.loads(r.stdout)["units"]
            total = instructions(file)
            out[(name, "instructions")] = total / units
            out[(name, "allocations")] = allocations(file) / units
    return out
