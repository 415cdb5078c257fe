#!/usr/bin/env python3
"""Compares a mount's .model.safetensors, read by the reference package, with the mount's tensors.

usage: whole_model.py MOUNT
Prints how many tensors were the same.
"""
import json
import os
import sys

import safetensors


def main(mount):
    path = os.path.join(mount, ".model.safetensors")
    with open(os.path.join(mount, "metadata.json"), encoding="utf-8") as file:
        listed = json.load(file)["tensors"]
    with safetensors.safe_open(path, "np") as model:
        assert sorted(model.keys()) == sorted(listed), "the names differ"
    with open(path, "rb") as file:
        read = dict(safetensors.deserialize(file.read()))
    for name, entry in listed.items():
        with open(os.path.join(mount, entry["path"]), "rb") as file:
            assert file.read() == bytes(read[name]["data"]), name
        assert read[name]["shape"] == entry["shape"], name
    print(len(listed))


if __name__ == "__main__":
    main(sys.argv[1])
