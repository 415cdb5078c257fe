#!/usr/bin/env python3
"""Compares every tensor of a mount with the tensors that Python's pickle and zipfile read from the same PyTorch file.

usage: pytorch_files.py --list
       pytorch_files.py FILE MOUNTPOINT

The first form prints the PyTorch files in the packages of models.txt. The second form prints how many tensors and bytes are
the same. PyTorch is not needed: stand-ins replace everything that a pickle names.
"""

import importlib.util
import json
import os
import pickle
import sys
import zipfile

import ml_dtypes
import numpy
from numpy.lib.stride_tricks import as_strided

STORAGES = {
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "i1", "ByteStorage": "u1",
    "BoolStorage": "?",
}
NAMES = {
    "<f4": "F32", "<f8": "F64", "<f2": "F16", ml_dtypes.bfloat16: "BF16", "<i8": "I64", "<i4": "I32", "<i2": "I16",
    "i1": "I8", "u1": "U8", "?": "BOOL",
}


class Object:
    """A stand-in for an instance of any class."""

    def __setstate__(self, state):
        self.__dict__.update(state)


class Dictionary(dict):
    """An OrderedDict, whose attributes do not matter."""

    def __init__(self, items=()):
        super().__init__(items)

    def __setstate__(self, state):
        pass


class Tensor:
    def __init__(self, storage, offset, size, stride, *_):
        self.storage, self.offset, self.size, self.stride = storage, offset, size, stride


class Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return Tensor
        if name in STORAGES:
            return STORAGES[name]
        if name == "OrderedDict":
            return Dictionary
        if name.startswith("build_"):
            return list
        return type(name, (Object,), {})

    def persistent_load(self, identifier):
        return identifier


def read(path):
    """The object of a file, and the bytes of each storage by key."""
    if zipfile.is_zipfile(path):
        archive = zipfile.ZipFile(path)
        root = next(name for name in archive.namelist() if name.endswith("/data.pkl"))[:-len("data.pkl")]
        storages = {name[len(root) + 5:]: archive.read(name) for name in archive.namelist()
                    if name.startswith(root + "data/")}
        return Unpickler(archive.open(root + "data.pkl")).load(), storages
    with open(path, "rb") as file:
        _, _, _, root, keys = (Unpickler(file, encoding="utf-8").load() for _ in range(5))
        widths = {}
        collect(root, "", lambda _, tensor: widths.setdefault(tensor.storage[2], numpy.dtype(tensor.storage[1]).itemsize))
        storages = {key: file.read(int.from_bytes(file.read(8), "little") * widths[key]) for key in keys}
        if file.read():
            sys.exit(f"{path} goes on after its storages")
        return root, storages


def collect(value, name, found):
    """Calls `found` with the dotted name of each tensor."""
    if isinstance(value, Tensor):
        found(name, value)
    elif isinstance(value, dict) or isinstance(value, Object):
        for key, item in (value if isinstance(value, dict) else value.__dict__).items():
            collect(item, f"{name}.{key}" if name else str(key), found)
    elif isinstance(value, (list, tuple)):
        for position, item in enumerate(value):
            collect(item, f"{name}.{position}" if name else str(position), found)


def main(path, root):
    value, storages = read(path)
    tensors = {}
    collect(value, "", tensors.__setitem__)
    with open(os.path.join(root, "metadata.json"), encoding="utf-8") as file:
        document = json.load(file)
    # TorchScript's code uses CONSTANTS, which is not in data.pkl.
    shown = {name: entry for name, entry in document["tensors"].items() if not name.startswith("CONSTANTS.")}
    if document["format"] != "pytorch" or set(shown) != set(tensors):
        sys.exit(f"{path}: the mount has {sorted(shown)} in place of {sorted(tensors)}")
    total = 0
    for name, tensor in tensors.items():
        dtype = numpy.dtype(tensor.storage[1])
        elements = numpy.frombuffer(storages[tensor.storage[2]], dtype)
        strides = [stride * dtype.itemsize for stride in tensor.stride]
        expected = as_strided(elements[tensor.offset:], tensor.size, strides).tobytes()
        entry = shown[name]
        with open(os.path.join(root, entry["path"]), "rb") as file:
            if file.read() != expected:
                sys.exit(f"{path}: {name} has other bytes")
        if entry["shape"] != list(tensor.size) or entry["dtype"] != NAMES[tensor.storage[1]]:
            sys.exit(f"{path}: {name} is {entry}")
        total += len(expected)
    print(f"{len(tensors)} tensors, {total} bytes")


def files():
    """Each PyTorch file in the packages."""
    for package in ("facenet_pytorch", "lpips", "silero_vad"):
        specification = importlib.util.find_spec(package)
        if specification is None:
            sys.exit(f"{package} is not installed: run make test-deps")
        for directory, _, names in os.walk(os.path.dirname(specification.origin)):
            for name in sorted(names):
                if name.endswith((".pt", ".pth", ".jit")):
                    yield os.path.join(directory, name)


if __name__ == "__main__":
    if sys.argv[1:] == ["--list"]:
        print("\n".join(files()))
    elif len(sys.argv) == 3:
        main(sys.argv[1], sys.argv[2])
    else:
        sys.exit(__doc__)
