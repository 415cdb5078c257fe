#!/usr/bin/env python3
"""NumPy files for stpack, and the expected results.

usage: arrays.py make MODEL EXPECTED    what a model becomes if stpack packs its view .npy
       arrays.py save DIRECTORY         writes arrays of all types into DIRECTORY/arrays
       arrays.py compare DIRECTORY      compares DIRECTORY/out.safetensors with them
"""

import os
import sys

import numpy
import safetensors
import safetensors.numpy

import views

TYPES = ["bool", "u1", "i1", "<i2", "<u2", "<f2", "<i4", "<u4", "<f4", "<c8", "<f8", "<i8", "<u8"]
SHAPES = [(), (0, 3), (5,), (2, 3), (1, 2, 1, 4)]


def make(model, expected):
    with open(model, "rb") as file:
        tensors = safetensors.deserialize(file.read())
    arrays = {}
    for name, tensor in tensors:
        values = views.array(bytes(tensor["data"]), tensor["dtype"], tensor["shape"])
        arrays[name] = values.astype("<f4") if tensor["dtype"] in views.NUMPY_LACKS else values
    safetensors.numpy.save_file(arrays, expected)


def arrays():
    generator = numpy.random.default_rng(5)
    for dtype in TYPES:
        for shape in SHAPES:
            count = numpy.prod(shape, dtype=int) * numpy.dtype(dtype).itemsize
            data = generator.integers(0, 2 if dtype == "bool" else 256, count, numpy.uint8)
            yield f"{dtype.strip('<')}/{len(shape)}", data.view(dtype).reshape(shape)


def save(directory):
    for number, (name, array) in enumerate(arrays()):
        path = os.path.join(directory, "arrays", name + ".npy")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            numpy.lib.format.write_array(file, array, version=[(1, 0), (2, 0), (3, 0)][number % 3])


def compare(directory):
    found = safetensors.numpy.load_file(os.path.join(directory, "out.safetensors"))
    expected = dict(arrays())
    if found.keys() != expected.keys() or not all(views.same(found[name], expected[name]) for name in found):
        sys.exit("not the arrays that were saved")
    print(f"{len(TYPES)} types, {len(found)} arrays")


if __name__ == "__main__":
    commands = {"make": make, "save": save, "compare": compare}
    if len(sys.argv) < 3 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](*sys.argv[2:])
