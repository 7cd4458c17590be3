# SPDX-License-Identifier: MIT
"""One run of the load generator against one server, with who used the processors meanwhile; and what the machine itself can do."""

import json
import os
import subprocess
import time

import culver

HZ = os.sysconf("SC_CLK_TCK")


def processes(pid):
    """pid and everything below it."""
    kids = {}
    for d in os.listdir("/proc"):
        if d.isdigit():
            try:
                f = open(f"/proc/{d}/stat").read().rsplit(")", 1)[1].split()
                kids.setdefault(int(f[1]), []).append(int(d))
            except OSError:
                pass
    out, todo = [], [pid]
    while todo:
        p = todo.pop()
        out.append(p)
        todo += kids.get(p, [])
    return out


def cpu_seconds(pid):
    """Of pid and all below it, those that ended included (these only as exactly as the kernel's clock ticks)."""
    total = 0
    for p in processes(pid):
        try:
            f = open(f"/proc/{p}/stat").read().rsplit(")", 1)[1].split()
            reaped = (int(f[13]) + int(f[14])) / HZ
            total += reaped + sum(int(open(f"/proc/{p}/task/{t}/schedstat").read().split()[0]) for t in os.listdir(f"/proc/{p}/task")) / 1e9
        except OSError:
            pass
    return total


def machine_seconds():
    """What all processes of the machine have used."""
    f = [int(x) for x in open("/proc/stat").readline().split()[1:]]
    return (f[0] + f[1] + f[2] + f[5] + f[6]) / HZ


def pss_kib(pid):
    total = 0
    for p in processes(pid):
        try:
            for line in open(f"/proc/{p}/smaps_rollup"):
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        except OSError:
            pass
    return total


def kernel_kib():
    """Memory that the kernel holds for descriptors, sockets and processes, of the whole machine."""
    want = ("Slab", "KernelStack", "PageTables")
    return sum(int(line.split()[1]) for line in open("/proc/meminfo") if line.split(":")[0] in want)


def forget_pages(directory):
    """Have the kernel drop what it keeps of the files below directory, and of no others."""
    os.sync()
    for root, _, files in os.walk(directory):
        for name in files:
            try:
                fd = os.open(os.path.join(root, name), os.O_RDONLY)
            except OSError:
                continue
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


class Failed(Exception):
    pass


def generate(binary, port, work, pid=None, tls=False, **args):
    """One run: the generator's JSON, with "server_cpu_us" an operation, and "others": processors that other processes used meanwhile."""
    cmd = [binary, "-w", work, "-p", str(port)] + (["-s"] if tls else [])
    for k, v in args.items():
        cmd += ["-" + k, str(v)]
    server, machine, start = cpu_seconds(pid) if pid else 0, machine_seconds(), time.monotonic()
    r = subprocess.run(cmd, capture_output=True, text=True)
    if r.returncode != 0:
        raise Failed((r.stderr.strip().splitlines() or ["failed"])[-1])
    out = json.loads(r.stdout)
    server, machine, took = (cpu_seconds(pid) if pid else 0) - server, machine_seconds() - machine, time.monotonic() - start
    out["server_cpu_us"] = server * 1e6 / max(out.get("ops", 1), 1)
    out["others"] = max(0.0, (machine - server) / took - out.get("client_cpu_share", 0))
    return out


def per_second(seconds, step):
    start, n = time.monotonic(), 0
    while time.monotonic() - start < seconds:
        step()
        n += 1
    return n / (time.monotonic() - start)


def limits(binary, directory):
    """What no server on this machine can pass, measured now."""
    out = {}
    fd = os.open(os.path.join(directory, "sync"), os.O_CREAT | os.O_WRONLY)

    def write_and_sync():
        os.write(fd, b"x" * 4096)
        os.fdatasync(fd)

    def fork():
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)

    out["syncs"] = dict(value=per_second(0.7, write_and_sync), what="times 4 KiB appended to a file and fdatasync, one after the other")
    os.close(fd)
    os.unlink(os.path.join(directory, "sync"))
    out["forks"] = dict(value=per_second(0.3, fork), what="times fork, exit and wait, of this small process")
    out["loopback"] = dict(value=generate(binary, 1, "loopback", n=40000)["per_second"], what="octets over a TCP connection on loopback, pieces of 64 KiB")
    r = subprocess.run(["openssl", "speed", "-seconds", "1", "ecdsap256"], capture_output=True, text=True).stdout.split()
    if len(r) > 2:
        out["signatures"] = dict(value=float(r[-2]), what="ECDSA P-256 signatures, one processor")
    out["handshakes"] = dict(value=handshakes(binary, directory), what="TLS 1.3 handshakes of our generator with two openssl s_server, which do nothing else")
    return out


def handshakes(binary, directory):
    """Two s_servers, one for each processor, as many clients as for login-tls."""
    ca, cert, key = culver.make_certificate(directory)
    ports = culver.free_ports(2)
    quiet = dict(stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    servers = [subprocess.Popen(["openssl", "s_server", "-quiet", "-accept", f"127.0.0.1:{p}", "-cert", cert, "-key", key, "-tls1_3", "-num_tickets", "0"],
                                **quiet) for p in ports]
    time.sleep(0.3)
    try:
        clients = [subprocess.Popen([binary, "-w", "handshake", "-s", "-p", str(p), "-c", "2", "-n", "600"], stdout=subprocess.PIPE, text=True) for p in ports]
        return sum(json.loads(c.communicate()[0])["per_second"] for c in clients)
    finally:
        for s in servers:
            s.kill()
            s.wait()
