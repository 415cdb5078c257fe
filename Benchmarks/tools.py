"""What a run needs from the machine: programs, peers, facts about it."""

import contextlib
import os
import platform
import re
import shutil
import subprocess
import sys

from mounts import Failure, Peer

PAGE_LISTS = "/proc/sys/vm/percpu_pagelist_high_fraction"


def size(text):
    """256M, 1G and the like, in bytes."""
    match = re.fullmatch(r"(\d+)([KMG]?)(?:i?B)?", text, re.IGNORECASE)
    if not match:
        raise ValueError(text)
    return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2].upper()]


def install(options, root):
    """Installs what is missing, where that is allowed, and builds the release binary if there is none."""
    needed = {"cc": "gcc", "fio": "fio", "fusermount3": "fuse3"}
    if options.peers:
        needed.update({"mksquashfs": "squashfs-tools", "squashfuse_ll": "squashfuse", "squashfuse": "squashfuse"})
    missing = sorted({package for program, package in needed.items() if not shutil.which(program)})
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update", "-qq"], stdout=sys.stderr)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], stdout=sys.stderr)
    if not shutil.which("cc"):
        sys.exit("run: a C compiler is needed; install " + " ".join(missing))
    if not os.path.exists(options.binary):
        command = ["swift", "build", "-c", "release", "--product", "stmount"]
        subprocess.run(command, cwd=root, check=True, stdout=sys.stderr)


@contextlib.contextmanager
def short_page_lists(notes):
    """Keeps the kernel's lists of free pages for each processor short, so that free pages come in ascending order.

    From such a list comes first what was put there last: the pages that a round has dropped would come back to the next in
    reverse order, in which the processor is slower to read them. A mount that is read for the first time gets new ones.
    """
    try:
        with open(PAGE_LISTS, "r+") as file:
            before = file.read()
            file.seek(0)
            file.write("100000")
    except OSError:
        notes.append("the kernel's lists of free pages could not be kept short, so that warm reads are slower in some rounds")
        yield
        return
    try:
        yield
    finally:
        with open(PAGE_LISTS, "w") as file:
            file.write(before)


def compile_reader(directory):
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "reader.c")
    program = os.path.join(directory, "reader")
    subprocess.run(["cc", "-O2", "-pthread", "-o", program, source], check=True)
    return program


def compile_minimal(directory):
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "minimal.c")
    program = os.path.join(directory, "minimal")
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "fuse3"], check=True, capture_output=True, text=True)
    subprocess.run(["cc", "-O2", "-o", program, source, *flags.stdout.split()], check=True)
    return program


def peers(directory, notes):
    """The other file systems that are here; ratarmount is fetched from PyPI if need be."""
    found = []
    for name in ("squashfuse_ll", "squashfuse", "ratarmount"):
        path = shutil.which(name)
        if not path and name == "ratarmount":
            environment = os.path.join(directory, "venv")
            subprocess.run([sys.executable, "-m", "venv", environment], stdout=subprocess.DEVNULL)
            subprocess.run([environment + "/bin/pip", "install", "-q", "ratarmount"], stdout=sys.stderr)
            path = environment + "/bin/ratarmount"
        if path and os.path.exists(path):
            found.append(path)
        else:
            notes.append(f"{name} is missing")
    return found


def index_archives(bench, model):
    """Mounts each peer once: ratarmount writes an index the first time, which is not what is measured."""
    for column in bench.columns:
        if not column.is_ours:
            bench.mount(column, model).unmount()


class SafeOpen:
    """Python's safetensors: safe_open and keys, in a process of its own each time; imports are not counted."""

    name = "safe_open + keys"
    script = ("import numpy, sys, time; from safetensors import safe_open; begin = time.perf_counter()\n"
              "with safe_open(sys.argv[1], 'np') as file: keys = list(file.keys())\n"
              "print(time.perf_counter() - begin)")

    def seconds(self, path):
        done = subprocess.run([sys.executable, "-c", self.script, path], capture_output=True, text=True)
        if done.returncode:
            raise Failure((done.stderr.strip() or "it failed").splitlines()[-1])
        return float(done.stdout)


def remove(model):
    for path in (model.path, model.squashfs, model.tar):
        if os.path.exists(path):
            os.remove(path)
    for name in os.listdir(os.path.dirname(model.tar)):
        if name.startswith(os.path.basename(model.tar)):  # ratarmount's index
            os.remove(os.path.join(os.path.dirname(model.tar), name))
    shutil.rmtree(model.plain, ignore_errors=True)


def file_system(directory):
    """The type of the file system that a directory is on."""
    device = os.stat(directory).st_dev
    with open("/proc/self/mountinfo") as file:
        for line in file:
            fields = line.split()
            if fields[2] == f"{os.major(device)}:{os.minor(device)}":
                return fields[fields.index("-") + 1]
    return "unknown"


def processor():
    """The machine in a few words."""
    with open("/proc/cpuinfo") as file:
        models = re.findall(r"^model name\s*:\s*(.*)$", file.read(), re.MULTILINE)
    with open("/proc/meminfo") as file:
        memory = int(re.search(r"MemTotal:\s*(\d+)", file.read())[1]) / (1 << 20)
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB of memory"


def halt_poll():
    """Nanoseconds for which this virtual machine's processors look for work before they sleep; none where they do not."""
    try:
        with open("/sys/module/haltpoll/parameters/guest_halt_poll_ns") as file:
            return int(file.read())
    except OSError:
        return 0


def machine(bench):
    """One line on what the numbers were measured with, and one on the software."""
    version = subprocess.run([bench.options.binary, "--version"], capture_output=True, text=True).stdout.strip()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True,
                            cwd=os.path.dirname(os.path.abspath(__file__))).stdout.strip()
    for column in bench.columns:
        if isinstance(column, Peer):
            found = subprocess.run([*column.program, "--version"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True).stdout
            number = re.search(re.escape(column.name.split("_")[0]) + r"\D*?(\d+(\.\d+)+)", found)
            version += f", {column.name} {number[1] if number else 'of unknown version'}"
    software = (f"Linux {platform.release()}, {version}, commit {commit or 'unknown'}, models on "
                f"{file_system(bench.directory)}, {'root' if os.geteuid() == 0 else 'an ordinary user'}")
    return processor(), software


def put(lines, output, name):
    """Prints tables, or puts them between the markers of that name in a file."""
    text = "\n".join(lines) + "\n"
    if not output:
        sys.stdout.write(text)
        return
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    old = ""
    if os.path.exists(output):
        with open(output) as file:
            old = file.read()
    before, marker, rest = old.partition(begin)
    if not marker:
        before, rest = old + "\n", end + "\n"
    with open(output, "w") as file:
        file.write(before + begin + text + end + rest.partition(end)[2])
