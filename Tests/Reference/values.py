#!/usr/bin/env python3
"""Compares the output of `stls --stats` for a model with the results of NumPy and ml_dtypes in float64.

usage: values.py MOUNTPOINT TABLE

Prints how many tensors were compared.
"""

import json
import os
import re
import sys
import warnings

import numpy

from views import array, read

ROW = re.compile(r"(\S+) +(\S+) +\[([0-9, ]*)\] +" + r"(\S+) +" * 6 + r"(\S+)")


def numbers(raw, entry):
    """A tensor as float64; for complex elements, their real and imaginary parts."""
    elements = array(raw, entry["dtype"], entry["shape"]).reshape(-1)
    return (elements.view("<f4") if entry["dtype"] == "C64" else elements).astype(numpy.float64)


def close(printed, expected, scale):
    if printed == "-":
        return numpy.isnan(expected)
    return float(printed) == expected or abs(float(printed) - expected) <= 1e-12 * scale


def main(root, table):
    warnings.simplefilter("ignore")
    tensors = json.loads(read(root, "metadata.json"))["tensors"]
    lines = read(table).decode().splitlines()[1:]
    assert len(lines) == len(tensors), (len(lines), len(tensors))
    for line in lines:
        name, dtype, shape, *printed = ROW.fullmatch(line).groups()
        entry = tensors[name]
        assert dtype == entry["dtype"] and [int(part) for part in shape.split(",") if part.strip()] == entry["shape"], line
        values = numbers(read(root, entry["path"]), entry)
        some = values[~numpy.isnan(values)]
        expected = [getattr(numpy, f)(some) if len(some) else numpy.nan for f in ("min", "max", "mean", "std")]
        finite = numpy.abs(values[numpy.isfinite(values)])
        scale = finite.max() if len(finite) else 0
        for what, got, value in zip(("min", "max", "mean", "std"), printed, expected):
            assert close(got, value, 0 if what in ("min", "max") else scale), (line, what, got, value)
        counts = [int((values == 0).sum()), int(numpy.isnan(values).sum()), int(numpy.isinf(values).sum())]
        assert [int(count) for count in printed[4:]] == counts, (line, counts)
    print(len(lines))


if __name__ == "__main__":
    main(*sys.argv[1:])
