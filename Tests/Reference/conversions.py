#!/usr/bin/env python3
"""Compares stpack's arrays in Fortran order, and its --dtype, with NumPy and ml_dtypes, bit by bit.

usage: conversions.py STPACK
"""

import os
import subprocess
import sys
import tempfile

import ml_dtypes
import numpy
import safetensors
import safetensors.numpy

from views import WIDTHS, array as unpacked

WIDE = {"F64": numpy.float64, "F32": numpy.float32, "F16": numpy.float16, "BF16": ml_dtypes.bfloat16}
NARROW = {
    "F8_E5M2": ml_dtypes.float8_e5m2, "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E8M0": ml_dtypes.float8_e8m0fnu,
    "F8_E4M3FNUZ": ml_dtypes.float8_e4m3fnuz, "F8_E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
}
# Elements narrower than a byte: all patterns, and more elements than stpack converts at a time.
PACKED = {name: bytes(range(256)) * 3 * 9 for name in WIDTHS}
TARGETS = {"f16": ("F16", numpy.float16), "bf16": ("BF16", ml_dtypes.bfloat16), "f32": ("F32", numpy.float32)}


def run(*arguments):
    outcome = subprocess.run([sys.argv[1], *arguments], capture_output=True, text=True)
    if outcome.returncode != 0 or outcome.stderr:
        sys.exit(f"{arguments}: {outcome.returncode} {outcome.stderr}")


def fortran(directory):
    generator = numpy.random.default_rng(5)
    arrays = {}
    os.mkdir(os.path.join(directory, "arrays"))
    for dtype in ["|u1", "|b1", "<i2", "<f2", "<f4", "<c8", "<f8", "<u8"]:
        for shape in [(2, 3), (1, 5), (3, 1, 4), (0, 3), (7,), (), (2, 1, 3, 5), (300, 1000), (64, 3, 5)]:
            count = numpy.prod(shape, dtype=int) * numpy.dtype(dtype).itemsize
            array = generator.integers(0, 2, count, numpy.uint8).view(dtype).reshape(shape)
            name = f"t{len(arrays)}"
            numpy.save(os.path.join(directory, "arrays", name + ".npy"), numpy.asfortranarray(array).reshape(shape, order="A"))
            arrays[name] = array
    out = os.path.join(directory, "fortran.safetensors")
    run(os.path.join(directory, "arrays"), "-o", out)
    found = safetensors.numpy.load_file(out)
    for name, array in arrays.items():
        if found[name].dtype != array.dtype or found[name].shape != array.shape or found[name].tobytes() != array.tobytes():
            sys.exit(f"array {name} of {array.shape} differs")
    return len(arrays)


def values(name, dtype):
    """Bits of all kinds: random ones, and some near the boundaries of rounding."""
    generator = numpy.random.default_rng(7)
    size = numpy.dtype(dtype).itemsize
    if size == 1:
        return numpy.arange(256, dtype=numpy.uint8).view(dtype)
    if size == 2:
        return numpy.arange(65536, dtype=numpy.uint16).view(dtype)
    word = {4: numpy.uint32, 8: numpy.uint64}[size]
    bits = [generator.integers(0, numpy.iinfo(word).max, 100_000, word, endpoint=True)]
    with numpy.errstate(all="ignore"):
        for narrow in (numpy.float16, ml_dtypes.bfloat16):
            halves = numpy.arange(65536, dtype=numpy.uint16).view(narrow).astype(dtype).view(word)
            step = word(1) << word({(4, numpy.float16): 12, (8, numpy.float16): 41}.get((size, narrow), 15 if size == 4 else 44))
            for near in (0, step, step - word(1), step + word(1)):
                bits.append(halves + word(near))
    return numpy.concatenate(bits).view(dtype)


def converted(array, target, largest):
    """The result of NumPy and ml_dtypes, with the largest value in place of infinity."""
    with numpy.errstate(all="ignore"):
        wide = array.astype(numpy.float64)
        result = array.astype(target)
        over = numpy.isinf(result.astype(numpy.float64)) & numpy.isfinite(wide)
        saturated = numpy.where(wide < 0, -largest, largest).astype(numpy.float64).astype(target)
    bits = result.view(numpy.uint16 if result.itemsize == 2 else numpy.uint32).copy()
    bits[over] = saturated.view(bits.dtype)[over]
    return bits


def types(directory):
    count = 0
    for name, dtype in {**WIDE, **NARROW, **dict.fromkeys(PACKED)}.items():
        raw = PACKED.get(name) or values(name, dtype).tobytes()
        size = len(raw) * 8 // WIDTHS[name] if name in WIDTHS else len(raw) // numpy.dtype(dtype).itemsize
        array = unpacked(raw, name, [size])
        source = os.path.join(directory, "source.safetensors")
        header = '{"w":{"dtype":"%s","shape":[%d],"data_offsets":[0,%d]}}' % (name, size, len(raw))
        header = header.encode().ljust((len(header) + 7) // 8 * 8)
        with open(source, "wb") as file:
            file.write(len(header).to_bytes(8, "little") + header + raw)
        for option, (target_name, target) in TARGETS.items():
            if target_name == name:
                continue
            out = os.path.join(directory, "out.safetensors")
            run(source, "-f", "-o", out, "--dtype", f"*={option}", "--saturate")
            with open(out, "rb") as file:
                (_, found), = safetensors.deserialize(file.read())
            largest = float(ml_dtypes.finfo(target).max)
            expected = converted(array, target, largest)
            if found["dtype"] != target_name:
                sys.exit(f"{name} to {option} is {found['dtype']}")
            bits = numpy.frombuffer(bytes(found["data"]), expected.dtype)
            wrong = numpy.flatnonzero(bits != expected)
            if wrong.size:
                at = wrong[0]
                sys.exit(f"{name} to {option}: {wrong.size} differ, first {array[at:at + 1].tobytes()[::-1].hex()}: "
                         f"{bits[at]:x} in place of {expected[at]:x}")
            count += 1
    return count


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as directory:
        print(f"{fortran(directory)} arrays in Fortran order; {types(directory)} types converted")
