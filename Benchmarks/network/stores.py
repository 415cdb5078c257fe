"""Where the model lies: file systems below stmount whose every request takes long. All of it on this machine."""


import os
import shutil
import socket
import struct
import subprocess
import sys
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


class Missing(Exception):
    """What a store needs and this machine does not have."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(attempt, what):
    """Calls something until it does not fail with an OSError."""
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        try:
            return attempt()
        except OSError:
            time.sleep(0.02)
    raise Missing(f"{what} does not answer")


def wait_for_port(port):
    wait_for(lambda: socket.create_connection(("127.0.0.1", port), 1).close(), f"port {port}")


def compile_program(source, directory, *libraries):
    program = os.path.join(directory, os.path.basename(source).removesuffix(".c"))
    if not os.path.exists(program):
        subprocess.run(["cc", "-O2", "-pthread", "-o", program, source, *libraries], check=True)
    return program


class Store:
    """A directory of files seen through a file system. Entering it mounts it with nothing in any cache."""

    def __init__(self, name, files, scratch, delay):
        self.name, self.files, self.scratch, self.delay = name, files, scratch, delay
        self.path = os.path.join(scratch, "store")
        self.processes = []

    def start(self, command, **options):
        # The servers are on this machine. rclone 1.60 does not start where AWS_CA_BUNDLE is set, and s3fs would take other settings.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=open(os.path.join(self.scratch, "log"), "ab"), **options)
        self.processes.append(process)
        return process

    def mounted(self, device):
        deadline = time.monotonic() + 100
        while os.stat(self.path).st_dev == device:
            if time.monotonic() > deadline:
                raise Missing(f"{self.name} does not mount: " + open(os.path.join(self.scratch, "log")).read()[-500:])
            time.sleep(0.01)

    def __enter__(self):
        os.makedirs(self.path, exist_ok=True)
        device = os.stat(self.path).st_dev
        try:
            self.mount()
            self.mounted(device)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", self.path], stderr=subprocess.DEVNULL)
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = []

    def reset(self):
        """The counts begin anew."""

    def counts(self):
        """Requests, bytes, and the most requests under way since then; None of what is not known."""
        return None, None, None

    @staticmethod
    def needs(*programs):
        missing = [program for program in programs if not shutil.which(program)]
        if missing:
            raise Missing("no " + ", ".join(missing))


class Delayed(Store):
    """(a): Tests/Below, at 20 ms and 200 MB/s for each request."""

    def __init__(self, files, scratch, delay, read_ahead, at_a_time=12, serial=0):
        super().__init__(f"FUSE, {delay} ms, read-ahead {read_ahead} KiB, {at_a_time} requests at a time"
                         + (", names looked up one by one" if serial else ""), files, scratch, delay)
        self.read_ahead, self.at_a_time, self.serial = read_ahead, at_a_time, serial

    def mount(self):
        program = compile_program(os.path.join(ROOT, "Tests/Below/below.c"), self.scratch,
                                  "-lfuse3")
        subprocess.run([program, self.files, self.path, f"latency={self.delay}", "bandwidth=200",
                        f"max_background={self.at_a_time}", f"serial={self.serial}"], check=True)
        device = os.stat(self.path).st_dev
        # FUSE's own limit, max_readahead, can only make it less.
        with open(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb", "w") as file:
            file.write(str(self.read_ahead))

    def control(self, text):
        with open(os.path.join(self.path, ".control"), "w") as file:
            file.write(text)

    def reset(self):
        self.control("reset=1")

    def counts(self):
        with open(os.path.join(self.path, ".control")) as file:
            found = dict(line.split() for line in file)
        return int(found["requests"]), int(found["bytes"]), int(found["in_flight"])


class Relayed(Store):
    """A server behind a line that takes half of the delay each way."""

    # MB/s of each connection, and of all together; 0 is as fast as the processors.
    speed = (0, 0)

    def limited(self, each, everything):
        self.name += f", {each} MB/s each, {everything} in all"
        self.speed = (each, everything)
        return self

    def relay(self, target):
        wait_for_port(target)
        port = free_port()
        program = compile_program(os.path.join(HERE, "relay.c"), self.scratch)
        self.counted = os.path.join(self.scratch, "counts")
        self.start([program, str(port), str(target), str(self.delay / 2), self.counted, *map(str, self.speed)])
        wait_for_port(port)
        return port

    def reset(self):
        self.begin = self.total()

    def total(self):
        with open(self.counted, "rb") as file:
            return struct.unpack("ll", file.read(16))[0]

    def counts(self):
        return None, self.total() - self.begin, None


class SSHFS(Relayed):
    """(b): sshfs. In place of ssh the line itself leads to a program that ssh would run there."""

    server = "/usr/lib/openssh/sftp-server"

    def __init__(self, files, scratch, delay):
        super().__init__(f"sshfs, {delay} ms", files, scratch, delay)

    def mount(self):
        self.needs("sshfs", "socat", self.server)
        target = free_port()
        self.start(["socat", f"TCP-LISTEN:{target},bind=127.0.0.1,fork,reuseaddr,nodelay", f"EXEC:{self.server}"])
        port = self.relay(target)
        self.start(["sshfs", "-f", "-o", f"directport={port},ro,allow_other", f"127.0.0.1:{self.files}", self.path])


class Rclone(Relayed):
    def rclone(self, remote, *options):
        self.needs("rclone")
        cache = os.path.join(self.scratch, "cache")
        shutil.rmtree(cache, ignore_errors=True)
        self.start(["rclone", "mount", remote, self.path, "--read-only", "--allow-other", "--cache-dir", cache,
                    "--config", "/dev/null", *options, *self.extra])


class HTTP(Rclone):
    """(d): nginx, through rclone."""

    def __init__(self, files, scratch, delay, name="", *extra):
        super().__init__(f"http by rclone{name}, {delay} ms", files, scratch, delay)
        self.extra = extra

    def mount(self):
        self.needs("nginx")
        target = free_port()
        configuration = os.path.join(self.scratch, "nginx.conf")
        with open(configuration, "w") as file:
            file.write(f"""daemon off; user root; pid {self.scratch}/nginx.pid; error_log {self.scratch}/log;
events {{}}
http {{ access_log off; sendfile on; keepalive_requests 100000;
  server {{ listen 127.0.0.1:{target}; location / {{ root {self.files}; autoindex on; }} }} }}\n""")
        self.start(["nginx", "-c", configuration])
        port = self.relay(target)
        self.rclone(f":http,url='http://127.0.0.1:{port}/':")


class S3(Rclone):
    """(c): moto's S3, through rclone."""

    options = "provider=Other,env_auth=false,access_key_id=a,secret_access_key=b,force_path_style=true"

    def __init__(self, files, scratch, delay, name="", *extra):
        super().__init__(f"S3 by rclone{name}, {delay} ms", files, scratch, delay)
        self.extra = extra

    def serve(self):
        target = free_port()
        python = os.environ.get("MOTO_PYTHON", os.path.join(ROOT, ".build/python/bin/python3"))
        self.start([python, os.path.join(HERE, "s3server.py"), str(target), self.files])
        # The server makes this bucket when all files are in the other one.
        wait_for(lambda: urllib.request.urlopen(f"http://127.0.0.1:{target}/ready", timeout=1).close(), "the S3 server")
        return self.relay(target)

    def mount(self):
        port = self.serve()
        self.rclone(f":s3,{self.options},endpoint='http://127.0.0.1:{port}':bucket")


class S3FS(S3):
    """(c): the same through s3fs."""

    def __init__(self, files, scratch, delay):
        super().__init__(files, scratch, delay)
        self.name = f"S3 by s3fs, {delay} ms"

    def mount(self):
        self.needs("s3fs")
        port = self.serve()
        password = os.path.join(self.scratch, "password")
        with open(password, "w") as file:
            file.write("a:b\n")
        os.chmod(password, 0o600)
        self.start(["s3fs", "bucket", self.path, "-f", "-o", f"url=http://127.0.0.1:{port}", "-o",
                    "use_path_request_style,ro,allow_other,umask=022", "-o", f"passwd_file={password}"])
