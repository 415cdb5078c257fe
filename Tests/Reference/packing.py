#!/usr/bin/env python3
"""Packs models with stpack, and compares each file, byte by byte, with the output of the reference writer for the same tensors.

usage: packing.py STPACK COUNT SEED

The tensors are handed to stpack in one to three files whose headers and data are in any order. Prints how many models
were compared, and how many tensors of each dtype.
"""

import collections
import ctypes
import json
import os
import random
import subprocess
import sys
import tempfile

import ml_dtypes
import numpy
import safetensors
import safetensors.numpy

# The writer's name of each dtype, and its number of bits. The writer has no names for the two types of 6 bits.
TYPES = {
    "BOOL": ("bool", 8), "F4": ("float4_e2m1fn_x2", 4), "U8": ("uint8", 8), "I8": ("int8", 8),
    "F8_E5M2": ("float8_e5m2", 8), "F8_E4M3": ("float8_e4m3fn", 8), "F8_E8M0": ("float8_e8m0fnu", 8),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", 8), "F8_E5M2FNUZ": ("float8_e5m2fnuz", 8), "I16": ("int16", 16),
    "U16": ("uint16", 16), "F16": ("float16", 16), "BF16": ("bfloat16", 16), "I32": ("int32", 32),
    "U32": ("uint32", 32), "F32": ("float32", 32), "C64": ("complex64", 64), "F64": ("float64", 64),
    "I64": ("int64", 64), "U64": ("uint64", 64),
}
# The types that save_file of safetensors.numpy accepts, ml_dtypes' types included.
IN_NUMPY = {
    "BOOL": numpy.bool_, "U8": numpy.uint8, "I8": numpy.int8, "I16": numpy.int16, "U16": numpy.uint16,
    "F16": numpy.float16, "BF16": ml_dtypes.bfloat16, "I32": numpy.int32, "U32": numpy.uint32, "F32": numpy.float32,
    "C64": numpy.complex64, "F64": numpy.float64, "I64": numpy.int64, "U64": numpy.uint64,
}
LETTERS = "abcwxyz0189._-/:%\\\"' \t\n\x01\x1f\x7fäé日\u2028\U0001f600"


def random_name(generator):
    if generator.random() < 0.6:
        return f"model.layers.{generator.randrange(30)}.{generator.choice(['weight', 'bias', 'q', 'k'])}"
    return "".join(generator.choices(LETTERS, k=generator.choice([0, 1, 3, 8, 300])))


def random_model(generator):
    """Tensors by name: dtype, shape, bytes; and metadata."""
    tensors = {}
    types = generator.sample(sorted(TYPES), generator.randint(1, 5))
    for _ in range(generator.choice([0, 1, 2, 5, 12])):
        dtype = generator.choice(types)
        shape = [generator.choice([0, 1, 2, 3, 7, 16]) for _ in range(generator.randrange(4))]
        if dtype == "F4":
            shape.append(2 * generator.randrange(4))
        count = TYPES[dtype][1]
        for dimension in shape:
            count *= dimension
        data = generator.randbytes(count // 8)
        if dtype == "BOOL":
            data = bytes(byte & 1 for byte in data)
        tensors[random_name(generator)] = (dtype, shape, data)
    metadata = generator.choice([None, {"format": "pt"}, {generator.choice(["", "k\"\n", "é"]): "v\\\x02ü/"}])
    return tensors, metadata


def write_reference(path, tensors, metadata, generator):
    """The file that the reference writes."""
    if all(dtype in IN_NUMPY for dtype, _, _ in tensors.values()) and generator.random() < 0.7:
        arrays = {name: numpy.frombuffer(data, IN_NUMPY[dtype]).reshape(shape)
                  for name, (dtype, shape, data) in tensors.items()}
        safetensors.numpy.save_file(arrays, path, metadata)
        return
    buffers = {name: ctypes.create_string_buffer(data, max(1, len(data))) for name, (_, _, data) in tensors.items()}

    def spec(name):
        dtype, shape, data = tensors[name]
        if dtype == "F4":  # Frameworks see two elements in a byte as one.
            shape = shape[:-1] + [shape[-1] // 2]
        return safetensors.TensorSpec(dtype=TYPES[dtype][0], shape=shape, data_ptr=ctypes.addressof(buffers[name]),
                                      data_len=len(data))

    safetensors.serialize_file({name: spec(name) for name in tensors}, path, metadata)


def write_shuffled(path, names, tensors, metadata, generator):
    """A valid file that no writer would write."""
    order = generator.sample(names, len(names))
    entries, data = {}, b""
    for name in order:
        dtype, shape, content = tensors[name]
        entries[name] = {"data_offsets": [len(data), len(data) + len(content)], "shape": shape, "dtype": dtype}
        data += content
    header = [(name, entries[name]) for name in generator.sample(names, len(names))]
    if metadata is not None:
        header.insert(generator.randint(0, len(header)), ("__metadata__", metadata))
    text = json.dumps(dict(header), ensure_ascii=generator.random() < 0.5).encode() + b" " * generator.randrange(9)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + data)


def main(stpack, count, seed):
    counts = collections.Counter()
    for number in range(count):
        generator = random.Random(f"{seed}/{number}")
        tensors, metadata = random_model(generator)
        with tempfile.TemporaryDirectory() as directory:
            expected, packed = (os.path.join(directory, name) for name in ("expected", "packed.safetensors"))
            write_reference(expected, tensors, metadata, generator)
            inputs = [os.path.join(directory, f"{part}.safetensors") for part in range(generator.randint(1, 3))]
            parts = [[] for _ in inputs]
            for name in tensors:
                generator.choice(parts).append(name)
            for part, (path, names) in enumerate(zip(inputs, parts)):
                write_shuffled(path, names, tensors, metadata if part == 0 else None, generator)
            subprocess.run([stpack, *inputs, "-o", packed], check=True)
            with open(expected, "rb") as left, open(packed, "rb") as right:
                if left.read() != right.read():
                    sys.exit(f"model {number} of seed {seed} is not what the reference writes")
            # The reference must read both its own output and the packed file.
            with safetensors.safe_open(packed, "numpy") as file:
                if set(file.keys()) != set(tensors) or (file.metadata() or None) != metadata:
                    sys.exit(f"model {number} of seed {seed} is not read as it was written")
        counts.update(dtype for dtype, _, _ in tensors.values())
    print(f"{count} models, {sum(counts.values())} tensors, {len(counts)} dtypes")
    print(" ".join(f"{dtype}:{counts[dtype]}" for dtype in TYPES))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
