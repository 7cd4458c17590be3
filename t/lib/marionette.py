# SPDX-License-Identifier: MIT
"""Drives a program of the Mozilla family through its remote protocol (Marionette): JSON arrays, each behind its length and a colon."""

import json
import os
import socket
import subprocess
import time

from culver import free_ports


class Marionette:
    """A headless program with a profile of its own below directory. js() runs in its privileged context."""

    def __init__(self, program, directory, prefs, env=None, timeout=60):
        self.profile = os.path.join(directory, "profile")
        os.makedirs(self.profile)
        port = free_ports(1)[0]
        with open(os.path.join(self.profile, "user.js"), "w") as f:
            for name, value in dict(prefs, **{"marionette.port": port}).items():
                f.write(f"user_pref({json.dumps(name)}, {json.dumps(value)});\n")
        self.out_path = os.path.join(directory, "out")
        self.out = open(self.out_path, "wb")
        env = dict(os.environ, HOME=directory, MOZ_HEADLESS="1", LC_ALL="C.UTF-8", **(env or {}))
        self.proc = subprocess.Popen([program, "--headless", "--marionette", "--remote-allow-system-access", "--no-remote", "-profile",
                                      self.profile], stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.out, env=env, cwd=directory,
                                     start_new_session=True)
        self.buf, self.id = b"", 0
        try:
            self.sock = self._connect(port, time.monotonic() + timeout)
            self.sock.settimeout(120)
            self._read()
            self._command("WebDriver:NewSession", {})
            self._command("Marionette:SetContext", {"value": "chrome"})
        except Exception:
            self.close()
            raise

    def _connect(self, port, end):
        while True:
            try:
                return socket.create_connection(("127.0.0.1", port), 5)
            except OSError:
                if self.proc.poll() is not None or time.monotonic() > end:
                    raise RuntimeError("no answer from the program:\n" + open(self.out_path, errors="replace").read()[-2000:])
                time.sleep(0.1)

    def _more(self):
        data = self.sock.recv(65536)
        if not data:
            raise EOFError("the program ended:\n" + open(self.out_path, errors="replace").read()[-2000:])
        self.buf += data

    def _read(self):
        while b":" not in self.buf:
            self._more()
        size, _, self.buf = self.buf.partition(b":")
        while len(self.buf) < int(size):
            self._more()
        text, self.buf = self.buf[:int(size)], self.buf[int(size):]
        return json.loads(text)

    def _command(self, name, params):
        self.id += 1
        text = json.dumps([0, self.id, name, params]).encode()
        self.sock.sendall(b"%d:%s" % (len(text), text))
        _, _, error, value = self._read()
        if error:
            raise RuntimeError(f"{name}: {error.get('message')}\n{error.get('stacktrace', '')}")
        return value

    def js(self, script, *args, seconds=60):
        """The value of an asynchronous function with this body; what it throws is raised here. "args" are its arguments."""
        body = ("const done = arguments[arguments.length - 1], args = Array.from(arguments).slice(0, -1);"
                "(async () => {" + script + "})().then(v => done({ value: v === undefined ? null : v }),"
                "e => done({ error: String(e) + '\\n' + ((e && e.stack) || '') }));")
        got = self._command("WebDriver:ExecuteAsyncScript", {"script": body, "args": list(args), "scriptTimeout": seconds * 1000,
                                                             "newSandbox": False})["value"]
        if "error" in got:
            raise RuntimeError(got["error"])
        return got["value"]

    def close(self):
        if self.proc.poll() is None:
            self.proc.terminate()
            try:
                self.proc.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.proc.pid, 9)
                self.proc.wait()
        self.out.close()
