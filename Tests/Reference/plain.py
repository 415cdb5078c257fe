#!/usr/bin/env python3
"""Writes a model, and a directory that its mount must equal, views included. The oracle compares the two.

usage: plain.py MODEL DIRECTORY [SEED]

The script does not use stmount: it knows the bytes without a mount. NumPy and ml_dtypes make the
views.
"""

import io
import json
import os
import random
import sys

import numpy

import views

# Sizes around each boundary at which the bytes are split: disk blocks, pages, requests, read-ahead.
SIZES = [0, 1, 2, 511, 512, 513, 4095, 4096, 4097, 8191, 65535, 65537, (128 << 10) - 1, 128 << 10, (128 << 10) + 1,
         (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (5 << 20) + 3]
# Shapes for dtypes that views change.
ELEMENTS = {"BF16": [300_001], "F16": [3, 70_001], "F32": [65_537], "F64": [1001, 7], "I64": [], "BOOL": [4099],
            "F4": [90_002], "F6_E3M2": [40_004], "F8_E4M3": [3, 50_000], "F8_E8M0": [0, 5], "C64": [513]}
NAMES = ["with space", "x%y", "bell\a", "é", "-rf", "*", "n" * 240]
MANY = 1500
# The time is not a whole second, so that rounding is visible.
TIME = 1_700_000_000_123_456_789


def tensors(chance):
    """NAME → (dtype, shape, raw bytes), not sorted by name."""
    result = {}
    for size in SIZES:
        result[f"sizes/{size}"] = ("U8", [size], chance.randbytes(size))
    for dtype, shape in ELEMENTS.items():
        bits = views.WIDTHS.get(dtype) or 8 * numpy.dtype(views.TYPES[dtype]).itemsize
        raw = chance.randbytes(int(numpy.prod(shape, dtype=int)) * bits // 8)
        if dtype == "BOOL":
            raw = bytes(byte & 1 for byte in raw)
        result[f"model/layers/{dtype.lower()}/weight"] = (dtype, shape, raw)
    for name in NAMES:
        result[name] = ("F16", [9], chance.randbytes(18))
    for number in range(MANY):
        result[f"many/{number}"] = ("U8", [3], chance.randbytes(3))
    order = list(result)
    chance.shuffle(order)
    return {name: result[name] for name in order}


def path(name):
    """The path of a name, for names like these. docs/SEMANTICS.md has all rules."""
    return name.replace("%", "%25").replace("\a", "%07")


def header(entries, metadata):
    text = json.dumps({"__metadata__": metadata, **entries}, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def entry(dtype, shape, start, size):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, start + size]}


def npy(array):
    saved = io.BytesIO()
    numpy.save(saved, array)
    return saved.getvalue()


def document(source, size, metadata, found, offsets):
    """metadata.json, with one line for each tensor."""
    lines = ",\n    ".join(
        f"{json.dumps(name, ensure_ascii=False)}: " + json.dumps(
            {"path": path(name), "dtype": dtype, "shape": shape, "nbytes": len(raw), "source": source,
             "offset": offsets[name]}, ensure_ascii=False)
        for name, (dtype, shape, raw) in sorted(found.items(), key=lambda item: item[0].encode()))
    return (f'{{\n  "format": "safetensors",\n  "sources": [\n    {{"name": "{source}", "size": {size}, '
            f'"mtime": {TIME // 10**9}.{TIME % 10**9:09}}}\n  ],\n  "metadata": {json.dumps(metadata)},\n'
            f'  "total_size": {sum(len(raw) for _, _, raw in found.values())},\n'
            f'  "tensors": {{\n    {lines}\n  }}\n}}\n').encode()


def write(target, data, attributes):
    """Writes a file as the mount shows it. Its times are set later, with those of the directories."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "wb") as file:
        file.write(data)
    for name, value in attributes.items():
        os.setxattr(target, f"user.safetensors.{name}", value)
    os.chmod(target, 0o444)


def main(model, root, seed):
    metadata = {"format": "pt"}
    found, entries, offsets, at = tensors(random.Random(seed)), {}, {}, 0
    for name, (dtype, shape, raw) in found.items():
        entries[name], offsets[name] = entry(dtype, shape, at, len(raw)), at
        at += len(raw)
    start = header(entries, metadata)
    offsets = {name: len(start) + offset for name, offset in offsets.items()}
    with open(model, "wb") as file:
        file.write(start)
        file.writelines(raw for _, _, raw in found.values())
    os.chmod(model, 0o644)
    os.utime(model, ns=(TIME, TIME))

    source = os.path.basename(model)
    write(os.path.join(root, "metadata.json"), document(source, len(start) + at, metadata, found, offsets), {})
    for name, (dtype, shape, raw) in found.items():
        attributes = {"name": name.encode(), "dtype": dtype.encode(), "shape": json.dumps(shape).encode(),
                      "source": source.encode(), "offset": str(offsets[name]).encode()}
        values = views.array(raw, dtype, shape)
        with numpy.errstate(invalid="ignore"):
            wide = values.astype("<f4") if dtype in views.FITS_FLOAT32 else values
        write(os.path.join(root, path(name)), raw, attributes)
        write(views.in_view(root, ".npy", path(name), ".npy"), npy(wide if dtype in views.NUMPY_LACKS else values),
              attributes)
        write(views.in_view(root, ".safetensors", path(name), ".safetensors"),
              header({name: entry(dtype, shape, 0, len(raw))}, metadata) + raw, attributes)
        view = views.in_view(root, ".f32", path(name), "")
        if dtype in views.FITS_FLOAT32:
            write(view, wide.tobytes(), attributes)
        else:  # A view has all directories.
            os.makedirs(os.path.dirname(view), exist_ok=True)
    for directory, _, files in os.walk(root):
        for file in files:
            os.utime(os.path.join(directory, file), ns=(TIME, TIME))
        os.chmod(directory, 0o555)
        os.utime(directory, ns=(TIME, TIME))


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) == 4 else 1)
