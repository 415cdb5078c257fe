#!/usr/bin/env python3
"""Reads changed files with the reference package and with this reader, and compares: accepted or refused, the tensors with
their bytes, the metadata. Prints how often they agreed, and each difference that docs/SEMANTICS.md does not declare.

usage: differential.py VERDICTS COUNT SEED [STRICTER]

VERDICTS is the program of Tests/Verdicts. With a fourth argument, the reader under test is taken to refuse what has a
name as long as that: a difference that must be found.
"""

import collections
import json
import os
import random
import struct
import subprocess
import sys
import tempfile

import safetensors

import mutants

BATCH = 1000


def ours(program, files):
    """The results for the files, in order."""
    data = b"".join(struct.pack("<I", len(file)) + file for file in files)
    lines = subprocess.run([program], input=data, stdout=subprocess.PIPE, check=True).stdout.splitlines()
    assert len(lines) == len(files), "there are more or fewer verdicts than files"
    return [json.loads(line) for line in lines]


def data_start(file):
    return 8 + struct.unpack("<Q", file[:8])[0]


def tensors(verdict, file):
    """The result of this reader, with the bytes."""
    start = data_start(file)
    return {
        bytes.fromhex(name): (dtype, shape, file[start + begin:start + end])
        for name, dtype, shape, begin, end in verdict["tensors"]
    }


def reference(file, path):
    """The result of the reference for a file: its error, or the tensors with their bytes and the metadata."""
    try:
        found = safetensors.deserialize(file)
    except Exception as error:
        return str(error), None, None
    with open(path, "wb") as output:
        output.write(file)
    with safetensors.safe_open(path, framework="numpy") as opened:
        metadata = opened.metadata() or {}
    return (
        None,
        {name.encode(): (info["dtype"], list(info["shape"]), bytes(info["data"])) for name, info in found},
        {key.encode(): value.encode() for key, value in metadata.items()},
    )


class Object(list):
    """An object as pairs, so that duplicate keys are visible."""


def declared(file):
    """The declared exceptions of docs/SEMANTICS.md that a JSON header has, which the reference accepts and this reader refuses:
    pairs of this reader's error and a description."""
    header = json.loads(file[8:data_start(file)], object_pairs_hook=Object)
    names = [name for name, _ in header]
    if len(set(names)) < len(names):
        yield "DuplicateTensor", "a tensor name that stands twice"
    for name, value in header:
        if name == "__metadata__":
            keys = [key for key, _ in value or []]
            if len(set(keys)) < len(keys):
                yield "DuplicateMetadataKey", "a metadata key that stands twice"
        elif not isinstance(value, Object):
            yield "InvalidHeaderDeserialization", "a tensor written as an array"
        elif any(key == "dtype" and isinstance(dtype, Object) for key, dtype in value):
            yield "InvalidHeaderDeserialization", "a dtype written as an object"


def difference(file, verdict, path):
    """How the two results agree, and a description of their difference or None."""
    error, found, metadata = reference(file, path)
    if error is not None:
        return "refused by both", None if "error" in verdict else f"accepted, and the reference says: {error}"
    if "error" in verdict:
        for name, words in declared(file):
            if name == verdict["error"]:
                return words, None
        return "", f"refused as {verdict['error']}, and the reference accepts it"
    if tensors(verdict, file) != found:
        return "", "other tensors"
    if {bytes.fromhex(key): bytes.fromhex(value) for key, value in verdict["metadata"].items()} != metadata:
        return "", "other metadata"
    return "accepted by both", None


def main():
    program, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    stricter = int(sys.argv[4]) if len(sys.argv) > 4 else None
    chance = random.Random(seed)
    agreed = collections.Counter()
    differences = 0
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as directory:
        path = os.path.join(directory, "file")
        for start in range(0, count, BATCH):
            files = [mutants.mutant(chance) for _ in range(min(BATCH, count - start))]
            for file, verdict in zip(files, ours(program, files)):
                if stricter is not None and any(len(t[0]) == 2 * stricter for t in verdict.get("tensors", [])):
                    verdict = {"error": "TooLong"}
                how, what = difference(file, verdict, path)
                if what is None:
                    agreed[how] += 1
                    continue
                differences += 1
                if differences <= 10:
                    print(f"{what}: {file[:2000]!r}")
    print(f"{count} files, seed {seed}: {differences} differences that are not declared")
    for how, number in agreed.most_common():
        print(f"{number:8} {how}")
    sys.exit(differences != 0)


if __name__ == "__main__":
    main()
