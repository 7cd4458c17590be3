#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What "make install" has put there: manual pages that say what the programs say, headers that stand alone, symbols that are ours,
settings that check, and a guide for who comes from Dovecot that names what there is."""
import glob
import json
import os
import re
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from client import culver, fail, need, run, same  # noqa: E402

PREFIX = os.path.abspath(culver.default_prefix())
DOC = os.path.join(PREFIX, "share", "doc", "culver")
TOOL = os.path.join(PREFIX, "bin", "culver")


def libdir():
    found = glob.glob(os.path.join(PREFIX, "lib*", "**", "libculver.so"), recursive=True)
    same(len(found), 1, "libculver.so")
    return os.path.dirname(found[0])


def settings(conf):
    """All settings with their sections: {(kind or "", name)}."""
    rows = set()
    for line in run(TOOL, "conf", "manual", "-c", conf).stdout.splitlines():
        if line.startswith(".Dq [") and line.endswith(" NAME] :"):
            kind = line[5:-8]
        elif line.startswith(".Ss "):
            kind = ""
        elif line.startswith(".It Ic "):
            rows.add((kind, re.sub(r"\\[&]|\\(?=-)", "", line[7:])))
    return rows


def manual_pages(conf):
    pages = {name: os.path.join(PREFIX, "share", "man", f"man{name[-1]}", name) for name in ("culver.1", "culver.ini.5", "culverd.8")}
    text = {}
    for name, path in pages.items():
        with open(path) as f:
            text[name] = f.read()
        if shutil.which("mandoc"):
            out = run("mandoc", "-T", "lint", "-W", "warning", path, check=False)
            same(out.stdout + out.stderr, "", f"mandoc about {name}")
        if shutil.which("man"):
            out = run("man", "--warnings=all", "-l", path, env=dict(os.environ, MANWIDTH="100", LC_ALL="C.UTF-8", MANPAGER="cat", PAGER="cat"))
            same(out.stderr, "", f"man about {name}")
            if "culver" not in out.stdout:
                fail(f"{name} shows nothing")
        # No place was left to be filled in.
        if re.search(r"@[a-z]+@", text[name]):
            fail(f"{name} has a @variable@")
    # Made from the same tables: what the installed tool says today is what is installed.
    same(run(TOOL, "manual", "-c", conf).stdout, text["culver.1"], "culver.1")
    same(run(TOOL, "conf", "manual", "-c", conf).stdout, text["culver.ini.5"], "culver.ini.5")
    plain = re.sub(r"\\&", "", text["culver.1"]).replace("\\ ", " ").replace("\\-", "-")
    helped = run(TOOL, "--help", "-c", conf).stdout
    commands = re.findall(r"(?m)^  ([a-z]+(?: [a-z]+)?) {2,}", helped.split("Options of every command")[0])
    if len(commands) < 15:
        fail(f"culver --help shows few commands: {commands}")
    for command in commands:
        one = run(TOOL, *command.split(), "--help", "-c", conf).stdout
        if "Examples:\n  culver " + command not in one:
            fail(f"culver {command} --help has no example:\n{one}")
        if f".Nm Cm {command}" not in plain:
            fail(f"culver.1 has no {command}")
        for option in re.findall(r"(?m)^  (?:-\w, )?--([a-z-]+)", one):
            if f"Fl Fl {option}" not in plain:
                fail(f"culver.1 has no --{option} of {command}")
    # An example is one that the tool takes: what its parser refuses ends with 64 before anything is asked.
    for line in re.findall(r"(?m)^  (culver [^\n]*?) {2,}", "\n".join(run(TOOL, *c.split(), "--help", "-c", conf).stdout.split("Examples:")[1] for c in commands)):
        words = line.split("&&")[0].split("|")[0].replace("'", "").split()[1:]
        r = run(TOOL, *words, "-c", conf, check=False, input="x\n")
        if r.returncode == 64:
            fail(f"the example {line} is wrong usage:\n{r.stderr}")
    server = run(os.path.join(PREFIX, "sbin", "culverd"), "-h").stdout
    for option in re.findall(r"(?m)^  -\w, --([a-z]+)", server):
        if f"Fl Fl {option}" not in text["culverd.8"]:
            fail(f"culverd.8 has no --{option}")


def headers():
    folder = os.path.join(PREFIX, "include")
    names = sorted(os.path.basename(p) for p in glob.glob(os.path.join(folder, "culver", "*.h")))
    if len(names) < 30:
        fail(f"few headers: {names}")
    compilers = [[c, f"-std={std}", "-x", lang] for c, std, lang in (
        ("gcc", "c17", "c"), ("clang", "c17", "c"), ("g++", "c++17", "c++"), ("g++", "c++20", "c++"), ("clang++", "c++17", "c++")) if shutil.which(c)]
    if not compilers:
        fail("no compiler")
    for name in names:
        for c in compilers:
            run(*c, "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{folder}", "-fsyntax-only", "-", input=f"#include <culver/{name}>\n")
    # A header that uses another one's names includes it, so each may be the first; and a plugin in C++ links.
    if shutil.which("g++"):
        with tempfile.TemporaryDirectory() as d:
            source = os.path.join(d, "plugin.cc")
            with open(source, "w") as f:
                f.write("#include <culver/module.h>\n#include <culver/str.h>\n"
                        "static int load(struct cv_registry *, enum cv_role, struct cv_err *err)\n"
                        "{\n\treturn cv_str_eq(CV_STR(\"a\"), CV_STR(\"b\")) ? cv_err_set(err, CV_ERR_INTERNAL, \"a is b\") : 0;\n}\n"
                        "static struct cv_module make()\n{\n\tstruct cv_module m = {};\n\tm.magic = CV_MODULE_MAGIC;\n\tm.load = load;\n\treturn m;\n}\n"
                        "struct cv_module in_cxx = make();\n")
            run("g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{folder}", "-o", os.path.join(d, "plugin.so"), source,
                f"-L{libdir()}", "-lculver", "-Wl,-z,defs")


def symbols():
    for lib in ("libculver.so", "libculver-mail.so"):
        names = [line.split()[-1] for line in run("nm", "-D", "--defined-only", os.path.join(libdir(), lib)).stdout.splitlines()]
        if len(names) < 50:
            fail(f"{lib} exports {len(names)} symbols")
        same([n for n in names if not n.startswith("cv_")], [], lib)
    modules = sorted(glob.glob(os.path.join(libdir(), "culver", "modules", "*.so")))
    if len(modules) < 15:
        fail(f"few modules: {modules}")
    for path in modules:
        name = os.path.basename(path)[:-3].replace("-", "_")
        names = [line.split()[-1] for line in run("nm", "-D", "--defined-only", path).stdout.splitlines()]
        same(names, [f"{name}_LTX_cv_module"], path)
    for program in ("bin/culver", "sbin/culverd"):
        out = run("nm", "-D", "--undefined-only", os.path.join(PREFIX, program)).stdout
        if re.search(r"\bcv_mail", out):
            fail(f"{program} is linked with the mail library")


def from_dovecot(conf):
    have = settings(conf)
    names = {name for _, name in have}
    if len(names) < 100:
        fail(f"few settings: {sorted(names)}")
    told, absent = set(), set()
    with open(os.path.join(DOC, "from-dovecot")) as f:
        for line in f:
            m = re.match(r"  ([a-z0-9_]+) +(same|other|absent)\b *(.*)$", line.rstrip("\n"))
            if not m:
                continue
            name, status, note = m.groups()
            if name in told | absent:
                fail(f"from-dovecot has {name} twice")
            (absent if status == "absent" else told).add(name)
            if status == "other" and not note:
                fail(f"from-dovecot does not say what is other with {name}")
            if status == "other" and name not in names:
                other = note.split()[0]
                if other not in names:
                    fail(f"from-dovecot: {name} is {other}, which is not there")
    same(sorted(told - names - {"separator"}), [], "from-dovecot says these are there")
    same(sorted(absent & names), [], "from-dovecot says these are absent")
    if len(told) < 100 or len(absent) < 30:
        fail(f"from-dovecot was not read: {len(told)} {len(absent)}")


def sample_settings():
    """Each file as installed, then with everything that is commented out put in force, is what the tool takes."""
    conf = os.path.join(PREFIX, "etc", "culver")
    with tempfile.TemporaryDirectory() as d:
        os.mkdir(os.path.join(d, "conf.d"))
        ini = os.path.join(d, "culver.ini")
        shutil.copy(os.path.join(conf, "culver.ini"), ini)
        # The accounts are those of an installed server; here it is any.
        me = ["-o", "default_internal_user=daemon", "-o", "default_internal_group=daemon", "-o", "default_login_user=nobody"]
        # What is still to be named is said, and nothing else.
        r = run(TOOL, "-c", ini, *me, "conf", "check", check=False)
        same((r.returncode, r.stdout), (78, ""))
        same([line for line in r.stderr.splitlines()[:-1] if "ssl_cert is not set" not in line], [])
        _, cert, key = culver.make_certificate(d)
        same(run(TOOL, "-c", ini, *me, "-o", f"ssl_cert=<{cert}", "-o", f"ssl_key=<{key}", "conf", "check").stdout, f"{ini}: no problems\n")
        samples = sorted(glob.glob(os.path.join(conf, "conf.d", "*.ini.sample")))
        if len(samples) < 2:
            fail(f"few samples: {samples}")
        with open(ini) as f:
            base = f.read()
        for sample in [None] + samples:
            for old in glob.glob(os.path.join(d, "conf.d", "*")):
                os.unlink(old)
            text = ""
            if sample:
                with open(sample) as f:
                    text = f.read()
            plain = base
            if sample and "auth-virtual" in sample:
                plain = base[:base.index("[passdb pam]")]
            for uncomment in (False, True):
                one, two = plain, text
                if uncomment:
                    # ";name = value" is a default or a proposal; prose has a blank after its semicolon.
                    one, two = (re.sub(r"(?m)^;(?=[a-z_0-9]+ = |\[)", "", t) for t in (one, two))
                    one, two = (re.sub(r"</etc/\S+\.(pem|crt)\b", f"<{cert}", re.sub(r"</etc/\S+\.key\b", f"<{key}", t)) for t in (one, two))
                with open(ini, "w") as f:
                    f.write(one)
                if sample:
                    with open(os.path.join(d, "conf.d", os.path.basename(sample)[:-7]), "w") as f:
                        f.write(two)
                r = run(TOOL, "-c", ini, *me, "conf", "-n", check=False)
                if r.returncode != 0:
                    fail(f"{sample or 'culver.ini'}{' without comment signs' if uncomment else ''}:\n{r.stdout}{r.stderr}")


need("nm")
with tempfile.TemporaryDirectory() as work:
    empty = os.path.join(work, "culver.ini")
    open(empty, "w").close()
    manual_pages(empty)
    headers()
    symbols()
    from_dovecot(empty)
    sample_settings()
