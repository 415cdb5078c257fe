#!/usr/bin/env python3
"""Makes PyTorch save objects, and compares every tensor of a mount, and of stpack's output, with PyTorch's tensors.

usage: torch_saves.py STMOUNT STPACK COUNT SEED

Each object is saved as an archive and in the form before PyTorch 1.6. Flat dictionaries of contiguous tensors are packed
and compared, byte by byte, with what safetensors.torch writes. Prints how many files and tensors were the same.
"""

import collections
import json
import os
import random
import subprocess
import sys
import tempfile

import safetensors.torch
import torch

# stmount does not show types without a name in safetensors: complex128, quantized types.
DTYPES = [
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool, torch.uint16, torch.uint32, torch.uint64, torch.complex64, torch.float8_e4m3fn,
    torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.float8_e8m0fnu,
]


def elements(chance, dtype, count):
    data = torch.tensor(list(chance.randbytes(count * dtype.itemsize)), dtype=torch.uint8)
    if dtype == torch.bool:
        data &= 1
    return data.view(dtype) if count else torch.empty(0, dtype=dtype)


def tensor(chance):
    """A tensor: whole, or a view of a larger storage."""
    dtype = chance.choice(DTYPES)
    shape = [chance.choice([0, 1, 2, 3, 5, 8, 33]) for _ in range(chance.choice([0, 1, 1, 2, 2, 3, 4]))]
    value = elements(chance, dtype, torch.Size(shape).numel()).reshape(shape)
    kind = chance.randrange(8)
    if kind == 0 and value.dim() > 1:
        value = value.transpose(*chance.sample(range(value.dim()), 2))
    elif kind == 1 and value.dim():
        value = value[chance.randrange(shape[0] + 1):]
    elif kind == 2:
        value = value.unsqueeze(0).expand(chance.choice([0, 2, 7]), *shape)
    elif kind == 3 and value.dim():
        value = value[..., ::chance.choice([2, 3])]
    elif kind == 4 and value.is_floating_point() and dtype.itemsize > 1:
        value = torch.nn.Parameter(value)
    return value


def key(chance):
    return "".join(chance.choice("abcwxyz0189_-/%é日 ") for _ in range(chance.randrange(1, 12)))


def nested(chance, depth=0):
    """Dictionaries, lists, tuples and plain values around tensors."""
    kind = chance.randrange(9)
    if depth > 3 or kind < 4:
        return tensor(chance)
    if kind == 4:
        return chance.choice([None, True, 3, 2.5, "text", b"bytes", torch.Size([1, 2]), torch.float16, torch.device("cpu")])
    if kind == 5:
        return [nested(chance, depth + 1) for _ in range(chance.randrange(4))]
    if kind == 6:
        return tuple(nested(chance, depth + 1) for _ in range(chance.randrange(4)))
    make = chance.choice([dict, collections.OrderedDict])
    return make((key(chance), nested(chance, depth + 1)) for _ in range(chance.randrange(5)))


def modules(chance):
    """Common checkpoints: the states of networks, optimizers and schedulers."""
    torch.manual_seed(chance.randrange(1 << 30))
    convolutions = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 1)
    ).to(memory_format=torch.channels_last)
    recurrent = torch.nn.LSTM(5, 7, num_layers=2, bidirectional=True)
    layer = torch.nn.TransformerEncoderLayer(16, 2, 32).to(chance.choice([torch.float32, torch.bfloat16]))
    tied = torch.nn.ModuleDict({"embedding": torch.nn.Embedding(11, 6), "head": torch.nn.Linear(6, 11, bias=False)})
    tied["head"].weight = tied["embedding"].weight
    optimizer = torch.optim.Adam(recurrent.parameters())
    recurrent(torch.randn(2, 3, 5))[0].sum().backward()
    optimizer.step()
    yield convolutions.state_dict()
    yield layer.state_dict()
    yield tied.state_dict()
    yield {"epoch": 3, "model": recurrent.state_dict(), "optimizer": optimizer.state_dict(), "best": torch.tensor(0.5)}
    yield torch.nn.Parameter(torch.randn(3, 4).t())
    yield torch.jit.script(convolutions)


def collect(value, name, found):
    if isinstance(value, torch.Tensor):
        found[name or "tensor"] = value
    elif isinstance(value, dict):
        for key, item in value.items():
            collect(item, f"{name}.{key}" if name else str(key), found)
    elif isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
        for position, item in enumerate(value):
            collect(item, f"{name}.{position}" if name else str(position), found)
    return found


def count_tensors(value):
    if isinstance(value, torch.Tensor):
        return 1
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else []
    return sum(count_tensors(item) for item in items)


def contents(value):
    value = value.detach().clone(memory_format=torch.contiguous_format)
    return bytes(value.reshape(-1).view(torch.uint8).tolist()) if value.numel() else b""


def same(left, right):
    return left.dtype == right.dtype and left.shape == right.shape and contents(left) == contents(right)


def packed(stpack, file, output):
    subprocess.run([stpack, "--force", file, "-o", output], check=True)
    return output


def save(value, file, is_zip):
    if isinstance(value, torch.jit.ScriptModule):
        value.save(file)
    else:
        torch.save(value, file, _use_new_zipfile_serialization=is_zip)


def compare(value, file, directory, tools):
    """Compares one file, and returns the number of its tensors."""
    expected = collect(value.state_dict() if isinstance(value, torch.jit.ScriptModule) else value, "", {})
    output = compare_tensors(expected, file, directory, tools)
    whole = {name: item.detach().clone(memory_format=torch.contiguous_format) for name, item in expected.items()}
    with open(output, "rb") as written:
        if written.read() != safetensors.torch.save(whole):
            sys.exit(f"{file}: packed, it is not what safetensors.torch writes")
    return len(expected)


def compare_tensors(expected, file, directory, tools):
    """Compares the tensors of a mount, and those of a packed file, which it returns."""
    stmount, stpack = tools
    mount = os.path.join(directory, "mount")
    subprocess.run([stmount, file, mount], check=True)
    try:
        with open(os.path.join(mount, "metadata.json"), encoding="utf-8") as document:
            entries = json.load(document)["tensors"]
        if set(entries) != set(expected):
            sys.exit(f"{file}: {sorted(entries)} in place of {sorted(expected)}")
        for name, entry in entries.items():
            with open(os.path.join(mount, entry["path"]), "rb") as tensor_file:
                if tensor_file.read() != contents(expected[name]):
                    sys.exit(f"{file}: {name} has other bytes")
            if entry["shape"] != list(expected[name].shape):
                sys.exit(f"{file}: {name} is {entry}")
    finally:
        subprocess.run(["umount", mount], check=True)
    output = packed(stpack, file, os.path.join(directory, "out.safetensors"))
    loaded = safetensors.torch.load_file(output)
    if set(loaded) != set(expected) or not all(same(loaded[name], item) for name, item in expected.items()):
        sys.exit(f"{file}: packed, it is something else")
    return output


def main(stmount, stpack, count, seed):
    chance = random.Random(seed)
    values = []
    while len(values) < count:
        value = nested(chance)
        # stpack refuses two tensors of one name, and tensors without a name.
        if 0 < count_tensors(value) == len(collect(value, "", {})):
            values.append(value)
    values += modules(chance)
    files = tensors = 0
    with tempfile.TemporaryDirectory() as directory:
        os.mkdir(os.path.join(directory, "mount"))
        for number, value in enumerate(values):
            for form, is_zip in (("archive", True), ("old", False)):
                file = os.path.join(directory, f"{number}-{form}.pt")
                save(value, file, is_zip)
                tensors += compare(value, file, directory, (stmount, stpack))
                files += 1
                os.unlink(file)
    print(f"PyTorch {torch.__version__}, seed {seed}: {files} files, {tensors} tensors, all the same")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
