"""Builds the wheel, by which `pip install stmount` brings the commands without Python having a part in running them.

usage: wheel.py STAGE DIST VERSION GLIBC MACHINE

A wheel cannot hold links, so that the commands beside stmount are shell scripts of two lines. pip installs what is in
data/scripts as it is, with the mode that the archive gives.
"""

import base64
import hashlib
import os
import pathlib
import sys
import time
import zipfile

stage, dist = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
version, glibc, machine = sys.argv[3:]
tag = f"py3-none-manylinux_{glibc.replace('.', '_')}_{machine}"
repository = pathlib.Path(__file__).resolve().parent.parent
info, data = f"stmount-{version}.dist-info", f"stmount-{version}.data"

SCRIPT = """#!/bin/sh
exec "$(dirname "$(realpath "$0")")/stmount" --command={} "$@"
"""

METADATA = """Metadata-Version: 2.4
Name: stmount
Version: {version}
Summary: Mount safetensors models as files
License-Expression: Apache-2.0 AND LGPL-2.1-only
{licenses}Keywords: safetensors,fuse,machine learning
Classifier: Operating System :: POSIX :: Linux
Classifier: Environment :: Console
Requires-Python: >=3.7
Description-Content-Type: text/markdown

{description}"""

WHEEL = """Wheel-Version: 1.0
Generator: stmount
Root-Is-Purelib: false
Tag: {tag}
"""


def members():
    """Each file's path in the archive, mode and bytes."""
    binaries = stage / "bin"
    for path in sorted(binaries.iterdir()):
        content = SCRIPT.format(path.name).encode() if path.is_symlink() else path.read_bytes()
        yield f"{data}/scripts/{path.name}", 0o755, content
    # Where man(1) and the shells look, relative to the environment.
    for directory in ("man", "bash-completion", "fish", "zsh"):
        for path in sorted((stage / "share" / directory).rglob("*")):
            if path.is_file():
                yield f"{data}/data/share/{path.relative_to(stage / 'share')}", 0o644, path.read_bytes()
    licenses = [repository / "LICENSE", repository / "NOTICE", stage / "share/doc/stmount/LGPL-2.1"]
    for path in licenses:
        yield f"{info}/licenses/{path.name}", 0o644, path.read_bytes()
    yield f"{info}/METADATA", 0o644, METADATA.format(
        version=version,
        licenses="".join(f"License-File: {path.name}\n" for path in licenses),
        description=(repository / "README.md").read_text(),
    ).encode()
    yield f"{info}/WHEEL", 0o644, WHEEL.format(tag=tag).encode()


def digest(content):
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


# An archive's dates begin in 1980 and are even.
date = time.gmtime(max(int(os.environ["SOURCE_DATE_EPOCH"]), 315532800))[:6]
record = []
with zipfile.ZipFile(dist / f"stmount-{version}-{tag}.whl", "w") as wheel:

    def add(name, mode, content):
        entry = zipfile.ZipInfo(name, date)
        entry.external_attr = (0o100000 | mode) << 16
        entry.create_system = 3
        wheel.writestr(entry, content, zipfile.ZIP_DEFLATED, 9)

    for name, mode, content in members():
        add(name, mode, content)
        record.append(f"{name},{digest(content)},{len(content)}\n")
    record.append(f"{info}/RECORD,,\n")
    add(f"{info}/RECORD", 0o644, "".join(record).encode())
