#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Stored passwords in both directions with Dovecot's doveadm: what one makes the other takes, and takes no other password for it."""

import os
import shutil
import subprocess
import sys

PREFIX = os.environ["CULVER_PREFIX"]
CULVER = os.path.join(PREFIX, "bin", "culver")
USER = "tim@example.org"
PASSWORDS = ["secret", "pa55 w\u00f6rd{x}$", "x" * 60]
# What both know; rounds that do not take all day.
SCHEMES = ["PLAIN", "CLEAR", "CLEARTEXT", "PLAIN-TRUNC", "CRYPT", "DES-CRYPT", "MD5-CRYPT", "SHA256-CRYPT", "SHA512-CRYPT", "BLF-CRYPT", "ARGON2I", "ARGON2ID",
           "PBKDF2", "MD5", "PLAIN-MD5", "LDAP-MD5", "DIGEST-MD5", "SMD5", "SHA", "SHA1", "SSHA", "SHA256", "SSHA256", "SHA512", "SSHA512",
           "SCRAM-SHA-1", "SCRAM-SHA-256"]
# Culver makes none of these any more.
READ_ONLY = {"DES-CRYPT", "DIGEST-MD5", "MD5", "MD5-CRYPT", "PLAIN-TRUNC"}


def culver_takes(stored, password):
    r = subprocess.run([CULVER, "pw", "-u", USER, "-p", password, "-t", stored], capture_output=True, text=True)
    if r.returncode not in (0, 77):
        raise AssertionError(f"culver pw -t {stored}: {r.returncode} {r.stderr}")
    return r.returncode == 0


def doveadm_takes(stored, password):
    r = subprocess.run(["doveadm", "-O", "pw", "-u", USER, "-p", password, "-t", stored], capture_output=True, text=True)
    return r.returncode == 0 and "(verified)" in r.stdout


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main():
    if not shutil.which("doveadm"):
        print("doveadm is not installed")
        return 77
    failures = 0
    for scheme in SCHEMES:
        for suffix in ("", ".b64", ".hex"):
            for password in PASSWORDS if suffix == "" else PASSWORDS[:1]:
                problems = []
                dovecot = run("doveadm", "-O", "pw", "-s", scheme + suffix, "-u", USER, "-p", password)
                if not culver_takes(dovecot, password):
                    problems.append("Culver does not take " + dovecot)
                # DES-CRYPT and PLAIN-TRUNC look at the beginning only, so what differs is there.
                if culver_takes(dovecot, "y" + password):
                    problems.append("Culver takes another password for " + dovecot)
                if scheme not in READ_ONLY and suffix == "":
                    ours = run(CULVER, "pw", "-s", scheme, "-u", USER, "-p", password)
                    if not doveadm_takes(ours, password):
                        problems.append("doveadm does not take " + ours)
                    if doveadm_takes(ours, "y" + password):
                        problems.append("doveadm takes another password for " + ours)
                for p in problems:
                    print("not ok", scheme + suffix, p)
                failures += len(problems)
        print("done", scheme)
    print("ok" if failures == 0 else f"{failures} problems")
    return failures != 0


if __name__ == "__main__":
    sys.exit(main())
