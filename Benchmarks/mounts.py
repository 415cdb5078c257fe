"""The columns of the tables: the plain file, stmount in its variants, and the peers."""

import os
import shlex
import subprocess
import tempfile
import time


# What daemons and readers are started with: see --realtime.
PREFIX = []


class Failure(Exception):
    """Something that ends one row, or the run, with one sentence."""


class Place:
    """Where a model's tensors can be read: a directory with a file for each."""

    def __init__(self, model, directory):
        self.model, self.directory = model, directory

    def path(self, index):
        return os.path.join(self.directory, self.model.names[index])

    def files(self, indices):
        """(path, offset, length) of each tensor as a file of its own."""
        return [(self.path(i), 0, self.model.sizes[i]) for i in indices]

    def pieces(self, indices):
        """(path, offset, length) of each tensor's bytes."""
        return self.files(indices)

    def unmount(self):
        """Nothing to do for a place that is not a mount."""


class Plain(Place):
    """No mount at all: the model file itself, or the extracted files."""

    name = "plain"
    is_plain = True
    is_ours = False
    pid = None

    def __init__(self, model):
        super().__init__(model, model.plain)
        self.backing = model.path

    def pieces(self, indices):
        """Where the tensors' bytes are in the model."""
        return [(self.model.path, self.model.offsets[i], self.model.sizes[i]) for i in indices]


class Mount(Place):
    """A mounted model. Its daemon is a child in the foreground, so that its PID is known and it cannot stay."""

    is_plain = False

    def __init__(self, column, model, directory):
        super().__init__(model, tempfile.mkdtemp(prefix=model.key + ".mnt.", dir=directory))
        self.column, self.name, self.is_ours, self.backing = column, column.name, column.is_ours, column.source(model)
        device = os.stat(self.directory).st_dev
        self.log = tempfile.TemporaryFile()
        self.daemon = subprocess.Popen(
            [*PREFIX, *column.command(model, self.directory, True)], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.pid = self.daemon.pid
        self.read_ahead = None
        deadline = time.monotonic() + 120
        try:
            while os.stat(self.directory).st_dev == device:
                if self.daemon.poll() is not None or time.monotonic() > deadline:
                    raise Failure(f"{column.name} did not mount: {self.output()}")
                time.sleep(0.002)
            os.stat(self.path(0))
            # The daemon sets its read-ahead once the mount answers, and says so; before, ours would be undone.
            while column.is_ours and "mounted" not in self.output() and time.monotonic() < deadline:
                time.sleep(0.002)
            self.read_ahead = self.set_read_ahead()
        except BaseException:
            self.unmount()
            raise

    def output(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace").strip() or "it said nothing"

    def set_read_ahead(self):
        """The mount's read_ahead_kb, set first if the column says so: (value, who set it)."""
        device = os.stat(self.directory).st_dev
        path = f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb"
        try:
            with open(path) as file:
                value = int(file.read())
            wanted = self.column.read_ahead
            if wanted is None or wanted == value:
                return value, "its own"
            with open(path, "w") as file:
                file.write(str(wanted))
            return wanted, "set by this run"
        except OSError:
            return None

    def memory(self):
        """The daemon's resident memory, in bytes by kind."""
        result = {}
        with open(f"/proc/{self.pid}/status") as file:
            for line in file:
                key, _, value = line.partition(":")
                if key in ("RssAnon", "RssFile", "RssShmem", "VmRSS"):
                    result[key] = int(value.split()[0]) * 1024
        return result

    def unmount(self):
        """Unmounts and waits for the daemon to end; does nothing the second time."""
        if self.log.closed:
            return
        unmount(self.directory)
        try:
            self.daemon.wait(20)
        except subprocess.TimeoutExpired:
            subprocess.run(["umount", "-l", self.directory], stderr=subprocess.DEVNULL)
            self.daemon.kill()
            self.daemon.wait()
        self.log.close()
        os.rmdir(self.directory)


def unmount(directory):
    """Unmounts, if mounted; a mount may be busy for a moment."""
    command = ["umount"] if os.geteuid() == 0 else ["fusermount3", "-u"]
    for _ in range(50):
        if not is_mounted(directory):
            return
        subprocess.run([*command, directory], stderr=subprocess.DEVNULL)
        if is_mounted(directory):
            time.sleep(0.1)


def is_mounted(directory):
    with open("/proc/self/mountinfo") as file:
        return any(line.split()[4] == directory for line in file)


class Stmount:
    """stmount with the options of one column. `bench_ra=KB` and `bench_binary=PATH` among them are for us."""

    is_ours = True

    def __init__(self, name, binary, options, read_ahead):
        self.name, self.binary, self.read_ahead = name, binary, read_ahead
        kept = []
        for option in filter(None, options.split(",")):
            key, _, value = option.partition("=")
            if key == "bench_ra":
                self.read_ahead = int(value)
            elif key == "bench_binary":
                self.binary = os.path.abspath(value)
            else:
                kept.append(option)
        self.options = ",".join(kept)

    def source(self, model):
        return model.path

    def command(self, model, directory, foreground):
        options = ["-o", self.options] if self.options else []
        return [self.binary, *(["-f", "-v"] if foreground else []), *options, model.path, directory]


class Minimal:
    """The least that a FUSE daemon can do (minimal.c), with the read-ahead that stmount has."""

    name = "minimal C"
    is_ours = False

    def __init__(self, program, read_ahead):
        self.program, self.read_ahead = program, read_ahead

    def source(self, model):
        return model.path

    def command(self, model, directory, foreground):
        listing = directory + ".list"
        with open(listing, "w") as file:
            for row in zip(model.names, model.offsets, model.sizes):
                file.write("%s\t%d\t%d\n" % row)
        return [self.program, *(["-f"] if foreground else []), model.path, listing, directory]


class Peer:
    """Another file system on the same bytes."""

    is_ours = False
    read_ahead = None

    def __init__(self, command):
        self.program = shlex.split(command)
        self.name = os.path.basename(self.program[0])

    def source(self, model):
        return model.tar if self.name == "ratarmount" else model.squashfs

    def command(self, model, directory, foreground):
        return [*self.program, *(["-f"] if foreground else []), self.source(model), directory]
