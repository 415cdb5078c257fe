#!/usr/bin/env python3
"""Reads changed PyTorch files with torch.load and with this reader, and compares names, dtypes, shapes and bytes.

usage: torch_differential.py VERDICTS COUNT SEED

VERDICTS is the program of Tests/Verdicts. torch.load reads each file twice, with weights_only and without. This reader may accept
files that torch.load refuses: it calls nothing, so less can fail. Both must read the same from a file that both accept.
Exits with 1 if they do not; the file then stays in the working directory.

Files with a set of several values are counted separately, because Python orders a set differently in each process.
"""

import argparse
import collections
import io
import json
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import types
import warnings

import numpy
import torch

import torch_mutants

BATCH = 500


# MARK: The reference

def is_shown(value):
    return (value.layout == torch.strided and not value.is_quantized and not value.is_conj() and not value.is_neg()
            and value.device.type == "cpu")


def component(key):
    if key is None or isinstance(key, (str, int)):
        return str(key)
    if isinstance(key, type):
        # The spelling of protocol 2.
        return f"{key.__module__}.{key.__qualname__}".replace("builtins.", "__builtin__.")
    if isinstance(key, types.FunctionType):
        return f"{key.__module__}.{key.__qualname__}"
    if isinstance(key, torch.serialization.StorageType):
        return f"torch.{torch.storage._dtype_to_storage_type_map()[key.dtype]}"
    return str(key) if isinstance(key, torch.dtype) else None


class Walk:
    """The names of the tensors in an object, by the rules of docs/SEMANTICS.md."""

    def __init__(self, value):
        self.found, self.path, self.once, self.unordered = collections.defaultdict(list), set(), set(), False
        self.visit(value, "", True)

    def visit(self, value, name, is_named):
        if isinstance(value, torch.Tensor):
            if is_named and is_shown(value):
                self.found[name or "tensor"].append(value)
            return
        if isinstance(value, (str, bytes, int, float, torch.Size)) or value is None or id(value) in self.path:
            return
        self.path.add(id(value))
        below = lambda part: f"{name}.{part}" if name else part
        if isinstance(value, dict):
            self.members(value, below, is_named)
            self.attributes(value, below, is_named)
        elif isinstance(value, (list, tuple, collections.deque)):
            # A named tuple is an object of an unknown class.
            if type(value) in (list, tuple, collections.deque) or id(value) not in self.once:
                self.once.add(id(value))
                for position, item in enumerate(value):
                    self.visit(item, below(str(position)), is_named)
        elif isinstance(value, (set, frozenset)):
            self.unordered |= len(value) > 1
            for position, item in enumerate(value):
                self.visit(item, below(str(position)), is_named)
        elif hasattr(value, "__dict__") and not isinstance(value, type) and id(value) not in self.once:
            self.once.add(id(value))
            self.attributes(value, below, is_named)
        self.path.discard(id(value))

    def attributes(self, value, below, is_named):
        self.members(getattr(value, "__dict__", {}), below, is_named)

    def members(self, dictionary, below, is_named):
        for key, item in dictionary.items():
            part = component(key)
            self.visit(item, below("?" if part is None else part), is_named and part is not None)


def described(value):
    value = value.detach()
    text = None
    if value.numel() * value.element_size() < 1 << 16:
        whole = value.clone(memory_format=torch.contiguous_format).reshape(-1)
        text = bytes(whole.view(torch.uint8).tolist()).hex() if value.numel() else ""
        if value.dtype == torch.bool:
            # PyTorch turns any other byte into 1 when it copies.
            text = bytes(map(bool, bytes.fromhex(text))).hex()
    return [str(value.dtype).removeprefix("torch."), list(value.shape), text]


def reference(data, weights_only):
    """The result of torch.load for a file: {name: [[dtype, shape, bytes], …]}, or None if it refuses the file."""
    try:
        walk = Walk(torch.load(io.BytesIO(data), map_location="cpu", weights_only=weights_only))
        return {"unordered": walk.unordered,
                "tensors": {name: [described(value) for value in values] for name, values in walk.found.items()}}
    except Exception:  # Any exception of a reader is a refusal.
        return None


def prepare():
    """Loads all imports and caches, so that each file finds the same state. Loads nothing from a changed file."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    argparse.Namespace.__new__ = instance
    for is_zip in (True, False):
        saved = io.BytesIO()
        torch.save({"a": torch.zeros(2, dtype=torch.bfloat16).t()}, saved, _use_new_zipfile_serialization=is_zip)
        for weights_only in (True, False):
            reference(saved.getvalue(), weights_only)


def instance(cls, *arguments, **keywords):
    """A constructor that keeps its arguments, whose positions become names. PyTorch would drop the arguments of NEWOBJ."""
    made = object.__new__(cls)
    made.__dict__.update({str(position): value for position, value in enumerate(arguments)} | keywords)
    return made


class Reference:
    """Calls torch.load in a new process for each file, so that changes to PyTorch's functions and classes do not last."""

    def __init__(self):
        self.crashes = 0

    def read(self, data):
        reading, writing = os.pipe()
        process = os.fork()
        if process == 0:
            try:
                self.answer(data, writing)
            finally:
                os._exit(1)
        os.close(writing)
        with open(reading, "rb") as answer:
            text = answer.read()
        if os.waitpid(process, 0)[1] != 0:
            self.crashes += 1
            return [None, None]
        return json.loads(text)

    def answer(self, data, writing):
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        signal.alarm(20)
        # weights_only comes first, because it does not change anything outside of the file's objects.
        text = json.dumps([reference(data, True), reference(data, False)]).encode()
        with open(writing, "wb") as answer:
            answer.write(text)
        os._exit(0)


# MARK: This reader

def ours(program, files):
    data = b"".join(struct.pack("<I", len(file)) + file for file in files)
    lines = subprocess.run([program], input=data, stdout=subprocess.PIPE, check=True).stdout.splitlines()
    assert len(lines) == len(files), "there are more or fewer verdicts than files"
    return [json.loads(line) for line in lines]


def elements(data, width, shape, strides, start):
    if 0 in shape:
        return ""
    array = numpy.ndarray(shape, f"V{width}", data, start, [stride * width for stride in strides])
    return array.tobytes().hex()


def tensors(verdict, data):
    found = collections.defaultdict(list)
    for name, dtype, shape, strides, start in verdict["tensors"]:
        width = getattr(torch, dtype).itemsize
        size = width
        for count in shape:
            size *= count
        text = elements(data, width, shape, strides, start) if size < 1 << 16 else None
        if dtype == "bool" and text:
            text = bytes(map(bool, bytes.fromhex(text))).hex()
        found[bytes.fromhex(name).decode()].append([dtype, shape, text])
    return found


def unique(found):
    """Removes tensors that share a name and are not the same, because neither side can refer to them by it."""
    return {name: values[0] for name, values in found.items() if all(value == values[0] for value in values)}


def main(program, count, seed):
    chance = random.Random(seed)
    prepare()
    reader = Reference()
    totals, differences = collections.Counter(), 0
    for start in range(0, count, BATCH):
        files = [torch_mutants.file(chance) for _ in range(min(BATCH, count - start))]
        for data, verdict in zip(files, ours(program, files)):
            mine = None if "error" in verdict else unique(tensors(verdict, data))
            for mode, theirs in zip(("weights_only", "all"), reader.read(data)):
                if theirs is None or mine is None:
                    who = "both" if theirs is None and mine is None else "torch.load" if theirs is None else "this reader"
                    totals[f"{mode}: refused by {who}"] += 1
                elif theirs["unordered"]:
                    totals[f"{mode}: a set, which has no order"] += 1
                elif unique(theirs["tensors"]) == mine:
                    totals[f"{mode}: the same"] += 1
                elif {name: value for name, value in unique(theirs["tensors"]).items()
                      if name in mine or name.encode().hex() not in verdict["omitted"]} == mine:
                    totals[f"{mode}: the same, but for tensors that this reader names as left out"] += 1
                else:
                    differences += 1
                    path = f"difference-{seed}-{differences}.pt"
                    with open(path, "wb") as file:
                        file.write(data)
                    print(f"{path} ({mode}): {unique(theirs['tensors'])} in place of {mine}"[:2000])
    for line, number in sorted(totals.items()):
        print(f"{number:8} {line}")
    print(f"{reader.crashes:8} files that ended torch.load's process")
    print(f"PyTorch {torch.__version__}, seed {seed}: {count} files, {differences} differences")
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
