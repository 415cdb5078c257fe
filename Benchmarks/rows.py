"""Every row of the tables: how one sample of it is taken. README.md says the same in prose."""

import json
import os
import shutil
import signal
import subprocess
import time

import mounts
import tools
from mounts import Failure, unmount

MIB = 1 << 20


class Row:
    """`take(bench, mount)` returns one sample, a dictionary with at least `seconds`, and `bytes` or `count`."""

    def __init__(self, phase, unit, key, title, take, cache):
        self.phase, self.unit, self.key, self.title, self.take, self.cache = phase, unit, key, title, take, cache


def reader(bench, mount, mode, indices, state, *options):
    """Runs the C program. The plain file is in memory and stays there, except in the rows about the disk."""
    if mount.is_plain and state in ("cold", "second"):
        state = ""
    # The plain file is the model itself, read at the tensors' offsets; for rows about files, the extracted files.
    places = mount.pieces if mode in ("seq", "rand", "mmap") else mount.files
    listing = os.path.join(bench.directory, "list")
    with open(listing, "w") as file:
        for piece in places(indices):
            file.write("%s\t%d\t%d\n" % piece)
    command = [*mounts.PREFIX, bench.reader, mode, *map(str, options)]
    if state:
        command += ["-s", state]
    if not mount.is_plain:
        command += ["-p", str(mount.pid), "-B", mount.backing]
        # Large models give the memory back; small files are visited twice, and the second time is about what is kept.
        if mode in ("seq", "rand", "mmap"):
            command += ["-x"]
    return output(command + [listing])


def output(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise Failure(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"{command[0]} failed")
    return json.loads(done.stdout) if done.stdout else {}


def daemon_cpu(pid):
    """CPU seconds of another process: its CPU clock's ID is made from its PID, as clock_getcpuclockid does."""
    return time.clock_gettime((~pid << 3) | 2) if pid else 0.0


def stolen():
    """Seconds that the hypervisor has given to others while this machine's processors had work, all together."""
    with open("/proc/stat") as file:
        return int(file.readline().split()[8]) / os.sysconf("SC_CLK_TCK")


def spawn(command, pid, capture=False):
    """Runs a tool and times it. Its output goes to /dev/null, or is returned."""
    begin_stolen, begin_daemon, begin = stolen(), daemon_cpu(pid), time.perf_counter()
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if capture else subprocess.DEVNULL,
        stderr=subprocess.PIPE, env={**os.environ, "LC_ALL": "C"})
    try:
        text = process.stdout.read() if capture else b""
        error = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        elapsed = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
    except BaseException:
        process.kill()
        raise
    if process.returncode:
        raise Failure(f"{command[0]}: {error.decode(errors='replace').strip()}")
    sample = {"seconds": elapsed, "reader_cpu": usage.ru_utime + usage.ru_stime,
              "daemon_cpu": daemon_cpu(pid) - begin_daemon, "stolen": stolen() - begin_stolen}
    return (sample, text) if capture else sample


def prepare(bench, mount, files, state):
    """Brings the files into the row's state; returns the part of them that is in memory."""
    if mount.is_plain or state == "warm":
        part = output([bench.reader, "warm", *files])["resident_before"]
    else:
        part = output([bench.reader, "drop", *files])["resident_before"]
    output([bench.reader, "touch", str(sum(os.path.getsize(file) for file in files) + 16 * MIB)])
    return part


def tool(command, state, which):
    """A row for a program that reads whole files; `command(mount, files, scratch)` is its command line."""
    def take(bench, mount):
        files = [mount.path(i) for i in which(mount.model)]
        part = prepare(bench, mount, files, state)
        try:
            sample = spawn(command(mount, files, bench.scratch), mount.pid)
        finally:
            shutil.rmtree(bench.scratch)
            os.mkdir(bench.scratch)
        sample["bytes"] = sum(os.path.getsize(file) for file in files)
        sample["resident_before"] = part
        if not mount.is_plain:
            output([bench.reader, "drop", *files])
        return sample
    return take


def fio(options, state):
    """A row for fio, as a second opinion on our own reader; its own counting of time and bytes."""
    def take(bench, mount):
        path = mount.path(mount.model.largest)
        part = prepare(bench, mount, [path], state)
        sample, text = spawn(
            ["fio", "--name=row", f"--filename={path}", "--readonly", "--ioengine=psync", "--invalidate=0",
             "--fadvise_hint=0", "--allow_file_create=0", "--output-format=json", *options], mount.pid, capture=True)
        text = text.decode()
        read = json.loads(text[text.index("{"):])["jobs"][0]["read"]
        sample.update(seconds=read["io_bytes"] / read["bw_bytes"], bytes=read["io_bytes"], resident_before=part)
        sample.pop("reader_cpu")  # mostly fio's own start
        if not mount.is_plain:
            output([bench.reader, "drop", path])
        return sample
    return take


def everything(model):
    return range(len(model.sizes))


def largest(model):
    return [model.largest]


def sequential(block, state, threads=1):
    return lambda bench, mount: reader(
        bench, mount, "seq", everything(mount.model), state, "-b", block, "-t", threads)


def random(block, count, state):
    def take(bench, mount):
        most = mount.model.bytes // (block + 12288)
        return reader(bench, mount, "rand", everything(mount.model), state, "-b", block, "-n", min(count, most),
                      "-r", bench.seed)
    return take


def mapped(state):
    return lambda bench, mount: reader(bench, mount, "mmap", everything(mount.model), state)


def visit(mode):
    return lambda bench, mount: reader(bench, mount, mode, everything(mount.model), "")


def walk(*command):
    """A row for a tool that walks the directory; DIR and SCRATCH in its command line stand for directories."""
    def take(bench, mount):
        places = {"DIR": mount.directory, "SCRATCH": bench.scratch}
        if "SCRATCH" in command:
            output([bench.reader, "touch", str(len(mount.model.names) * 8192 + 16 * MIB)])
        try:
            sample = spawn([places.get(word, word) for word in command], mount.pid)
        finally:
            if "SCRATCH" in command:
                shutil.rmtree(bench.scratch)
                os.mkdir(bench.scratch)
        sample["count"] = len(mount.model.names)
        return sample
    return take


def ready(bench, column, model):
    """From the start of the command until a tensor's file answers."""
    if isinstance(column, tools.SafeOpen):
        return {"seconds": column.seconds(model.path)}
    directory = os.path.join(bench.directory, "ready.mnt")
    os.mkdir(directory)
    try:
        sample = spawn(column.command(model, directory, False), None)
        begin = time.perf_counter()
        os.stat(os.path.join(directory, model.names[-1]))
        sample["seconds"] += time.perf_counter() - begin
        return sample
    finally:
        unmount(directory)
        os.rmdir(directory)


def short(block):
    return {4096: "4K", 32 << 10: "32K", 64 << 10: "64K", 128 << 10: "128K", MIB: "1M", 4 * MIB: "4M"}[block]


def all_rows():
    rows = []

    def add(phase, unit, key, title, take, cache):
        rows.append(Row(phase, unit, key, title, take, cache))

    for state in ("cold", "warm"):
        for block in (32 << 10, 128 << 10, MIB):
            add("data", "rate", f"seq/{state}/{short(block)}", f"pread {short(block)}",
                sequential(block, state), state)
    for block in (128 << 10, MIB):
        add("data", "rate", f"seq/second/{short(block)}", f"pread {short(block)}, the second time",
            sequential(block, "second"), "warm")
    for state in ("cold", "warm"):
        add("data", "rate", f"cat/{state}", "`cat` of all tensors",
            tool(lambda mount, files, _: ["cat", *files], state, everything), state)
    for block in ("1M", "4M"):
        def dd(mount, files, _, block=block):
            return ["dd", f"if={files[0]}", "of=/dev/null", f"bs={block}"] + (
                [] if mount.is_plain else ["iflag=direct"])
        add("data", "rate", f"dd/{block}", f"`dd bs={block} iflag=direct`", tool(dd, "direct", largest), "direct")
    for state in ("cold", "warm"):
        add("data", "rate", f"sha256sum/{state}", "`sha256sum`",
            tool(lambda mount, files, _: ["sha256sum", *files], state, largest), state)
        add("data", "rate", f"cp/{state}", "`cp` to memory",
            tool(lambda mount, files, scratch: ["cp", *files, scratch], state, largest), state)
    for threads, block in ((2, 128 << 10), (2, MIB), (8, 128 << 10), (8, MIB)):
        add("data", "rate", f"readers/{threads}/{short(block)}", f"{threads} readers, pread {short(block)}",
            sequential(block, "cold", threads), "cold")
    for state in ("cold", "warm"):
        add("data", "rate", f"mmap/{state}", "sum over mmap", mapped(state), state)
    add("data", "rate", "fio/seq", "fio, read 1M", fio(["--rw=read", "--bs=1M"], "cold"), "cold")
    add("data", "rate", "fio/rand", "fio, randread 4K",
        fio(["--rw=randread", "--bs=4k", "--io_size=20M", "--randseed=1"], "cold"), "cold")
    for state, many, few in (("cold", 5000, 1000), ("warm", 20000, 3000)):
        add("data", "latency", f"rand/{state}/4K", "random 4K", random(4096, many, state), state)
        add("data", "latency", f"rand/{state}/64K", "random 64K", random(64 << 10, few, state), state)

    for block in (128 << 10, MIB):
        add("disk", "rate", f"disk/seq/{short(block)}", f"pread {short(block)}", sequential(block, "disk"), "disk")
    add("disk", "latency", "disk/rand/4K", "random 4K", random(4096, 2000, "disk"), "disk")
    add("disk", "latency", "disk/rand/64K", "random 64K", random(64 << 10, 500, "disk"), "disk")

    for key, title, take in (
            ("ls-f", "`ls -f`", walk("ls", "-f", "DIR")), ("ls-l", "`ls -l`", walk("ls", "-l", "DIR")),
            ("find", "`find -size`", walk("find", "DIR", "-size", "+1")), ("du", "`du -s`", walk("du", "-s", "DIR")),
            ("stat", "stat", visit("stat")), ("slurp", "open + read + close", visit("slurp")),
            ("cp-r", "`cp -r` to memory", walk("cp", "-r", "DIR", "SCRATCH"))):
        add("small", "entry", f"small/{key}", title, take, "")
    for key in ("data", "small", "header"):
        add("ready", "ready", f"ready/{key}", key, None, "")
    return rows


def interrupt_cleanly():
    """SIGTERM and SIGHUP unwind like an interrupt, so that nothing stays mounted."""
    def stop(number, _):
        raise SystemExit(128 + number)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
