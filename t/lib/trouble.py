# SPDX-License-Identifier: MIT
"""What may befall a running server, to be brought about and taken back by tests: its processes are killed, stopped, or get no more descriptors or memory; its
clock is set; its disk fills."""
import errno
import os
import resource
import shutil
import signal
import struct
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def below(pid):
    """The living processes below this one."""
    kids = {}
    for d in os.listdir("/proc"):
        if d.isdigit():
            try:
                f = open(f"/proc/{d}/stat").read().rsplit(")", 1)[1].split()
                if f[0] != "Z":
                    kids.setdefault(int(f[1]), []).append(int(d))
            except OSError:
                pass
    out, todo = [], list(kids.get(pid, []))
    while todo:
        p = todo.pop()
        out.append(p)
        todo += kids.get(p, [])
    return out


class Trouble:
    """begin() and end() by turns; prepare() before the server starts, cleanup() when it has stopped. `why_not`: it can't be had here."""

    why_not = None

    def __init__(self, s, r):
        self.s, self.r, self.count = s, r, 0

    def prepare(self):
        pass

    def cleanup(self):
        pass

    def begin(self):
        raise NotImplementedError

    def end(self):
        pass


class Kill(Trouble):
    """Any process but the master."""

    def begin(self):
        victims = below(self.s.proc.pid)
        if victims:
            try:
                os.kill(self.r.choice(victims), signal.SIGKILL)
                self.count += 1
            except ProcessLookupError:
                pass


class Stop(Trouble):
    """Some processes, the master among them, hang for a while."""

    stopped = ()

    def begin(self):
        all_of_them = below(self.s.proc.pid) + [self.s.proc.pid]
        self.stopped = self.r.sample(all_of_them, self.r.randrange(1, 4)) if len(all_of_them) > 3 else all_of_them
        for pid in self.stopped:
            self.send(pid, signal.SIGSTOP)
        self.count += len(self.stopped)

    def end(self):
        for pid in self.stopped:
            self.send(pid, signal.SIGCONT)

    @staticmethod
    def send(pid, sig):
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            pass


class Limit(Trouble):
    """Some processes, and those that they fork meanwhile, get no more of something."""

    option = None  # of prlimit
    name = None    # in /proc/PID/limits

    def __init__(self, s, r):
        super().__init__(s, r)
        self.before = {}

    def prepare(self):
        if not shutil.which("prlimit"):
            self.why_not = "no prlimit"

    def used(self, pid):
        raise NotImplementedError

    def get(self, pid):
        for line in open(f"/proc/{pid}/limits"):
            if line.startswith(self.name):
                return line[len(self.name):].split()[0]
        raise RuntimeError(f"{self.name} has no limit")

    def set(self, pid, soft):
        # As the server's own user: root in a container may not. The hard limit stays, so that it can be taken back.
        r = subprocess.run(["prlimit", f"--pid={pid}", f"--{self.option}={soft}:"], capture_output=True, text=True,
                           **self.s.identity())
        if r.returncode != 0 and os.path.exists(f"/proc/{pid}") and "No such process" not in r.stderr:
            raise RuntimeError(f"limit of {pid}: {r.stderr}")

    def processes(self):
        return below(self.s.proc.pid) + [self.s.proc.pid]

    def begin(self):
        self.before = {}
        for pid in self.processes():
            try:
                self.before[pid] = self.get(pid)
            except FileNotFoundError:
                pass
        for pid in self.r.sample(sorted(self.before), self.r.randrange(1, len(self.before) + 1)):
            try:
                self.set(pid, self.used(pid))
                self.count += 1
            except (FileNotFoundError, ProcessLookupError):
                pass

    def end(self):
        # Twice: a process may be forked by one that is still limited while the others get theirs back.
        for _ in range(2):
            for pid in self.processes():
                try:
                    parent = int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])
                except (FileNotFoundError, ProcessLookupError):
                    continue
                before = self.before.setdefault(pid, self.before.get(parent))
                if before is not None:
                    self.set(pid, before)


class Descriptors(Limit):
    option, name = "nofile", "Max open files"

    def used(self, pid):
        return max((int(n) for n in os.listdir(f"/proc/{pid}/fd")), default=2) + 1 + self.r.randrange(4)


class Memory(Limit):
    """Who gets no memory ends, and is started again: all but the master, for which that is the init system's."""

    option, name = "as", "Max address space"

    def processes(self):
        return below(self.s.proc.pid)

    def used(self, pid):
        return int(open(f"/proc/{pid}/statm").read().split()[0]) * resource.getpagesize() + self.r.randrange(1 << 18)


class Clock(Trouble):
    """The time of day of all processes: as it is, an hour ago, or in a year. It stays so until the next one."""

    TIMES = (0, -3600, 365 * 86400)

    def prepare(self):
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            self.why_not = "no compiler for the clock that can be set"
            return
        library, self.file = os.path.join(self.s.dir, "clock-shim.so"), os.path.join(self.s.dir, "clock")
        subprocess.run([compiler, "-O1", "-fPIC", "-shared", "-o", library, os.path.join(HERE, "clock-shim.c")], check=True)
        with open(self.file, "wb") as f:
            f.write(struct.pack("q", 0))
        self.s.env.update(LD_PRELOAD=library, CULVER_TEST_CLOCK=self.file)

    def begin(self):
        with open(self.file, "r+b") as f:
            f.write(struct.pack("q", self.r.choice(self.TIMES)))
        self.count += 1


FILE_SYSTEMS = {"ext4": ("mkfs.ext4", "-q", "-F", "-m", "0"), "xfs": ("mkfs.xfs", "-q", "-f"), "btrfs": ("mkfs.btrfs", "-q", "-f")}


class Disk(Trouble):
    """A file system of its own for the mail, which is filled to the last block and freed. Needs root and loop devices."""

    SIZE = 2 << 30
    KIND = "ext4"

    def __init__(self, s, r):
        super().__init__(s, r)
        self.make, self.mounted = FILE_SYSTEMS[self.KIND], False

    def prepare(self):
        image = os.path.join(self.s.dir, "disk")
        if os.getuid() != 0:
            self.why_not = "needs root"
            return
        if not shutil.which(self.make[0]):
            self.why_not = f"no {self.make[0]}"
            return
        with open(image, "wb") as f:
            f.truncate(self.SIZE)
        subprocess.run([*self.make, image], check=True, stdout=subprocess.DEVNULL)
        r = subprocess.run(["mount", "-o", "loop", image, self.s.mail], capture_output=True, text=True)
        if r.returncode != 0:
            self.why_not = "an image can't be mounted here: " + r.stderr.strip()
            return
        self.mounted = True
        if self.s.run_as:
            os.chown(self.s.mail, self.s.run_as.pw_uid, self.s.run_as.pw_gid)
        self.filling = os.path.join(self.s.mail, "filling")
        os.mkdir(self.filling, 0o700)

    def cleanup(self):
        if self.mounted:
            subprocess.run(["umount", self.s.mail], check=True)
            self.mounted = False

    def begin(self):
        n, size = 0, 1 << 30
        while size >= 4096:
            try:
                fd = os.open(os.path.join(self.filling, str(n)), os.O_WRONLY | os.O_CREAT, 0o600)
            except OSError as e:
                if e.errno != errno.ENOSPC:
                    raise
                break  # not even for a name
            n += 1
            try:
                os.posix_fallocate(fd, 0, size)
            except OSError as e:
                if e.errno != errno.ENOSPC:
                    raise
                os.ftruncate(fd, 0)
                size //= 2
            finally:
                os.close(fd)
        self.count += 1

    def end(self):
        for name in os.listdir(self.filling):
            os.unlink(os.path.join(self.filling, name))


KINDS = {"kill": Kill, "stop": Stop, "descriptors": Descriptors, "memory": Memory, "clock": Clock, "disk": Disk}


class Round:
    """Some of the troubles at a time, then none of them until all is well again."""

    def __init__(self, s, r, names):
        self.s, self.r = s, r
        self.troubles = {name: KINDS[name](s, r) for name in names}

    def prepare(self):
        for name, trouble in list(self.troubles.items()):
            trouble.prepare()
            if trouble.why_not:
                print(f"without {name}: {trouble.why_not}", flush=True)
                del self.troubles[name]
        return bool(self.troubles)

    def cleanup(self):
        for trouble in self.troubles.values():
            trouble.cleanup()

    def one(self):
        """The names of those that there were."""
        names = self.r.sample(sorted(self.troubles), self.r.randrange(1, len(self.troubles) + 1))
        for name in names:
            self.troubles[name].begin()
        try:
            time.sleep(self.r.uniform(0.2, 3))
        finally:
            for name in names:
                self.troubles[name].end()
        return names

    def tally(self):
        return ", ".join(f"{name} {trouble.count}" for name, trouble in self.troubles.items())
