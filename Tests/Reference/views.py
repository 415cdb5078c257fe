#!/usr/bin/env python3
"""Compares every tensor of a mount, in every view, with the results of NumPy, ml_dtypes and safetensors for its raw file.

usage: views.py MOUNTPOINT

Prints, as a table, how many elements of each dtype were compared bit by bit. A model that holds every bit pattern of
a type so shows that the type is widened as ml_dtypes does it.
"""

import io
import json
import os
import sys

import ml_dtypes
import numpy
import safetensors

# The names of the format's dtypes in NumPy and ml_dtypes.
TYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "<i2", "U16": "<u2", "I32": "<i4", "U32": "<u4", "I64": "<i8",
    "U64": "<u8", "F16": "<f2", "F32": "<f4", "F64": "<f8", "C64": "<c8", "BF16": ml_dtypes.bfloat16,
    "F8_E5M2": ml_dtypes.float8_e5m2, "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E8M0": ml_dtypes.float8_e8m0fnu,
    "F8_E4M3FNUZ": ml_dtypes.float8_e4m3fnuz, "F8_E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
    "F6_E2M3": ml_dtypes.float6_e2m3fn, "F6_E3M2": ml_dtypes.float6_e3m2fn, "F4": ml_dtypes.float4_e2m1fn,
}
# Elements of fewer than 8 bits are packed from the lowest bit up.
WIDTHS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
NUMPY_LACKS = {name for name, dtype in TYPES.items() if not isinstance(dtype, str)}
FITS_FLOAT32 = NUMPY_LACKS | {"F16", "F32"}


def read(*parts):
    with open(os.path.join(*parts), "rb") as file:
        return file.read()


def array(raw, dtype, shape):
    """A tensor's raw bytes as an array."""
    if dtype in WIDTHS:
        bits = numpy.unpackbits(numpy.frombuffer(raw, numpy.uint8), bitorder="little").reshape(-1, WIDTHS[dtype])
        raw = numpy.packbits(bits, axis=1, bitorder="little").tobytes()
    return numpy.frombuffer(raw, TYPES[dtype]).reshape(shape)


def same(left, right):
    """True if the bits are equal."""
    return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()


def in_view(root, view, path, suffix):
    """A tensor's file in a view. The names here are not too long for a path."""
    *directories, name = path.split("/")
    for position, directory in enumerate(directories):
        if suffix and directory.endswith(suffix):
            directories[position] = directory[:-len(suffix)] + "%2E" + suffix[1:]
    return os.path.join(root, view, *directories, name + suffix)


def check_npy(root, path, expected):
    file = in_view(root, ".npy", path, ".npy")
    for mode in (None, "r"):
        if not same(numpy.load(file, mmap_mode=mode), expected):
            sys.exit(f"{file} is not the tensor (mmap_mode={mode})")
    if numpy.load(file, mmap_mode="r").ctypes.data % 64:
        sys.exit(f"the data of {file} are not aligned")
    saved = io.BytesIO()
    numpy.save(saved, expected)
    if saved.getvalue() != read(file):
        sys.exit(f"{file} is not what numpy.save writes")


def check_float32(root, path, expected, exists):
    file = in_view(root, ".f32", path, "")
    if os.path.exists(file) != exists:
        sys.exit(f"{file} {'is missing' if exists else 'would be lossy'}")
    if exists and read(file) != expected.tobytes():
        sys.exit(f"{file} is not the tensor")


def check_safetensors(root, path, name, tensor, raw, metadata):
    file = in_view(root, ".safetensors", path, ".safetensors")
    (found, content), = safetensors.deserialize(read(file))
    if found != name or bytes(content["data"]) != raw or content["shape"] != tensor["shape"]:
        sys.exit(f"{file} is not the tensor")
    # This function maps the file.
    with safetensors.safe_open(file, "numpy") as opened:
        if list(opened.keys()) != [name] or (opened.metadata() or {}) != metadata:
            sys.exit(f"{file} has other names or metadata")
        if opened.get_slice(name).get_dtype() != tensor["dtype"]:
            sys.exit(f"{file} has another dtype")
        if tensor["dtype"] in ("F16", "F32", "BF16", "I64") and not same(
                opened.get_tensor(name), array(raw, tensor["dtype"], tensor["shape"])):
            sys.exit(f"{file} gives another array")


def main(root):
    document = json.loads(read(root, "metadata.json"))
    counts = {}
    for name, tensor in document["tensors"].items():
        dtype, path = tensor["dtype"], tensor["path"]
        raw = read(root, path)
        values = array(raw, dtype, tensor["shape"])
        # The processor reports widening a NaN with a payload as invalid, which is not an error here.
        with numpy.errstate(invalid="ignore"):
            wide = values.astype("<f4") if dtype in FITS_FLOAT32 else values
        check_npy(root, path, wide if dtype in NUMPY_LACKS else values)
        check_float32(root, path, wide, dtype in FITS_FLOAT32)
        check_safetensors(root, path, name, tensor, raw, document["metadata"])
        patterns = len(numpy.unique(values.view(f"V{values.itemsize}"))) if values.size else 0
        count = counts.setdefault(dtype, [0, 0])
        counts[dtype] = [count[0] + values.size, max(count[1], patterns)]
    print("| dtype | elements | bit patterns | .npy | .f32 | .safetensors |")
    print("| --- | --: | --: | --- | --- | --- |")
    for dtype in TYPES:
        if dtype in counts:
            npy = "float32" if dtype in NUMPY_LACKS else numpy.dtype(TYPES[dtype]).name
            print(f"| {dtype} | {counts[dtype][0]} | {counts[dtype][1]} | {npy} | "
                  f"{'float32' if dtype in FITS_FLOAT32 else 'none'} | {dtype} |")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
