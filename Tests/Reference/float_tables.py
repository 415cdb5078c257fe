#!/usr/bin/env python3
"""Prints Tests/TensorFilesTests/FloatTables.swift: the float32 numbers that ml_dtypes makes of every pattern of up to 8 bits.

With --check FILE, compares FILE with ml_dtypes instead, and fails if they differ.
"""

import sys

import ml_dtypes
import numpy

TYPES = {
    "F4": ("float4_e2m1fn", 4),
    "F6_E2M3": ("float6_e2m3fn", 6),
    "F6_E3M2": ("float6_e3m2fn", 6),
    "F8_E5M2": ("float8_e5m2", 8),
    "F8_E4M3": ("float8_e4m3fn", 8),
    "F8_E8M0": ("float8_e8m0fnu", 8),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", 8),
    "F8_E5M2FNUZ": ("float8_e5m2fnuz", 8),
}


def words(name, bits):
    patterns = numpy.arange(1 << bits, dtype=numpy.uint8)
    return patterns.view(getattr(ml_dtypes, name)).astype(numpy.float32).view(numpy.uint32)


def source():
    lines = [
        "/// The float32 numbers, as bits, that ml_dtypes makes of every pattern of the types of up to 8 bits, by the names of the types.",
        "///",
        "/// Tests/Reference/float_tables.py writes this file. A test compares it with ml_dtypes.",
        "enum FloatTables {",
        "  static let words: [String: [UInt32]] = [",
    ]
    for dtype, (name, bits) in TYPES.items():
        lines.append(f'    "{dtype}": [')
        table = [f"0x{word >> 16:04x}_{word & 0xffff:04x}," for word in words(name, bits)]
        for start in range(0, len(table), 8):
            lines.append("      " + " ".join(table[start:start + 8]))
        lines.append("    ],")
    return "\n".join(lines + ["  ]", "}"]) + "\n"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--check"]:
        with open(sys.argv[2]) as file:
            if file.read() != source():
                sys.exit(f"{sys.argv[2]} differs from ml_dtypes {ml_dtypes.__version__}; run this script without --check")
        print(sum(1 << bits for _, bits in TYPES.values()))
    else:
        sys.stdout.write(source())
