#!/usr/bin/env python3
"""Packs models into shards with stpack, and compares files and index, byte by byte, with those of huggingface_hub.

usage: sharding.py STPACK COUNT SEED

huggingface_hub decides which tensor goes to which shard, the reference writes each shard, and Python's json writes the index. Then
huggingface_hub's loader reads stpack's output, with NumPy arrays in place of torch tensors.
"""

import json
import os
import random
import subprocess
import sys
import tempfile

import huggingface_hub
import numpy
import safetensors.numpy
from huggingface_hub.serialization import _torch

_torch.load_state_dict_from_file = lambda path, **_: safetensors.numpy.load_file(path)


class Model:
    """The parts of a torch.nn.Module that the loader uses."""

    def __init__(self, names):
        self.loaded = {}
        self.names = names

    def load_state_dict(self, state, strict):
        self.loaded.update(state)

    def state_dict(self):
        return dict.fromkeys(self.names)


def random_model(generator):
    names = [f"layers.{number}.{kind}" for number in range(generator.randint(1, 9)) for kind in ("weight", "é\x7f")]
    return {name: numpy.frombuffer(generator.randbytes(4 * generator.choice([0, 1, 30, 300])), generator.choice(["<f4", "<i4"]))
            for name in names}


def check(directory, tensors, limit, metadata):
    # stpack sorts the tensors by name, so their stored order has no effect.
    ordered = {name: tensors[name] for name in sorted(tensors, key=str.encode)}
    split = huggingface_hub.split_state_dict_into_shards_factory(
        ordered, get_storage_size=lambda array: array.nbytes, max_shard_size=limit,
        filename_pattern="model{suffix}.safetensors")
    expected = {name: safetensors.numpy.save({key: tensors[key] for key in keys}, metadata)
                for name, keys in split.filename_to_tensors.items()}
    if split.is_sharded:
        # Only the files have the entry `format`, as with save_torch_state_dict.
        more = {key: value for key, value in (metadata or {}).items() if key != "format"}
        index = {"metadata": {**split.metadata, **more}, "weight_map": split.tensor_to_filename}
        expected["model.safetensors.index.json"] = json.dumps(index, indent=2).encode()
    found = {}
    for name in os.listdir(directory):
        with open(os.path.join(directory, name), "rb") as file:
            found[name] = file.read()
    if found != expected:
        wrong = [name for name in sorted({*found, *expected}) if found.get(name) != expected.get(name)]
        sys.exit(f"not what huggingface_hub would have written: {wrong}")
    if split.is_sharded:
        model = Model(tensors)
        keys = huggingface_hub.load_torch_model(model, directory)
        if keys.missing_keys or keys.unexpected_keys or set(model.loaded) != set(tensors):
            sys.exit("huggingface_hub does not load the shards")
    return len(split.filename_to_tensors)


def main(stpack, count, seed):
    shards = 0
    for number in range(count):
        generator = random.Random(f"{seed}/{number}")
        tensors = random_model(generator)
        metadata = generator.choice([None, {"format": "pt"}, {"né": "w\n"}])
        limit = generator.choice(["1KB", "2KB", "1.5KB", "1MB"])
        with tempfile.TemporaryDirectory() as directory:
            source, target = os.path.join(directory, "source.safetensors"), os.path.join(directory, "target")
            safetensors.numpy.save_file(tensors, source, metadata)
            os.mkdir(target)
            subprocess.run([stpack, source, "-o", os.path.join(target, "model.safetensors"), "--max-shard-size", limit],
                           check=True)
            shards += check(target, tensors, limit, metadata)
    print(f"{count} models, {shards} files")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
