#!/usr/bin/env python3
"""Makes PyTorch save common shapes of checkpoints, and compares the tensors of a mount of each with torch.load.

usage: torch_shapes.py STMOUNT

Prints a table: the shape, how many tensors are the same, and which ones are left out or why the file is refused. Saves each shape
with protocols 2 to 5, and in both forms. torch_kinds.py has more shapes.
"""

import argparse
import collections
import copy
import dataclasses
import datetime
import enum
import functools
import io
import itertools
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import tarfile
import tempfile
import warnings

import numpy
import torch

import torch_saves

SHAPES = {}
# Further arguments of torch.save for shapes that permit them, and the shapes saved with them.
OPTIONS, SAVED = {}, []


def shape(title, refused=None, left=()):
    """Registers a function that writes a file and returns {name: tensor}. A warning must name each tensor in `left`."""
    def register(function):
        SHAPES[title] = (function, refused, left)
        return function
    return register


class Unloadable(Exception):
    """Files that torch.save writes and torch.load cannot read, such as nested tensors in the older form."""


def saved(value, path, expected=None, **options):
    SAVED.append(path)
    torch.save(value, path, **(OPTIONS | options))
    try:
        loaded = torch.load(path, weights_only=False)
    except Exception as error:
        raise Unloadable from error
    return torch_saves.collect(loaded, "", {}) if expected is None else expected(loaded)


def below(name, tensors):
    return {f"{name}.{key}": value for key, value in tensors.items()}


# MARK: Classes that the files name

class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.SiLU())
        self.stride = torch.tensor([8.0, 16.0])
        self.names = {0: "cat", 1: "dog"}
        self.yaml = {"depth": [1, 2], "activation": torch.nn.SiLU}


class Average:
    """Averages a model's weights, as YOLO does."""

    def __init__(self, model):
        self.ema, self.updates, self.decay = copy.deepcopy(model).eval(), 7, functools.partial(pow, 0.9)


class Precision(enum.Enum):
    HALF = "half"
    FULL = "full"


@dataclasses.dataclass
class Config:
    width: int
    precision: Precision
    path: pathlib.Path
    mean: torch.Tensor


class AttributeDict(dict):
    """Hyperparameters, as in Lightning."""


class Slots:
    __slots__ = ("weight", "name")


class Special(torch.Tensor):
    pass


Pair = collections.namedtuple("Pair", "left right")


def network():
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))


def trained():
    model = network()
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    return model, optimizer


# MARK: Shapes

@shape("state_dict")
def _(path):
    return saved(network().state_dict(), path)


@shape("trainer: model, optimizer, scheduler, scaler, epoch, Namespace")
def _(path):
    model, optimizer = trained()
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, [lambda epoch: 1.0])
    return saved({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "lr_scheduler": scheduler.state_dict(),
                  "scaler": torch.amp.GradScaler("cpu").state_dict(), "epoch": 3, "best": torch.tensor(0.5),
                  "args": argparse.Namespace(lr=0.1, model="r50")}, path)


@shape("Lightning .ckpt")
def _(path):
    model, optimizer = trained()
    hyper = AttributeDict(width=4, optimizer=functools.partial(torch.optim.AdamW, lr=0.1), activation=torch.nn.ReLU())
    return saved({"epoch": 1, "pytorch-lightning_version": "2.5", "state_dict": below("model", model.state_dict()),
                  "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(0.25), "kth_value": torch.tensor(1.0)}},
                  "optimizer_states": [optimizer.state_dict()], "lr_schedulers": [], "hparams_name": "kwargs",
                  "loops": {"fit_loop": {"state_dict": {}}}, "hyper_parameters": hyper}, path)


@shape("DistributedDataParallel: module. before each name")
def _(path):
    return saved({"state_dict": below("module", network().state_dict())}, path)


@shape("a whole module, as YOLO saves it")
def _(path):
    def expected(loaded):
        found = below("model", loaded["model"].state_dict())
        return found | {"model.stride": loaded["model"].stride} | below("ema", loaded["ema"].state_dict()) | {
            "ema.stride": loaded["ema"].stride}
    model = Block().half()
    return saved({"model": model, "ema": copy.deepcopy(model), "date": datetime.datetime.now().isoformat(), "epoch": -1,
                  "train_args": {"imgsz": 640}}, path, expected)


@shape("an object that holds an average of a module")
def _(path):
    return saved({"ema": Average(network()), "updates": 7}, path, lambda loaded: below("ema.ema", loaded["ema"].ema.state_dict()))


@shape("a module alone, with tied weights")
def _(path):
    model = torch.nn.ModuleDict({"embedding": torch.nn.Embedding(5, 3), "head": torch.nn.Linear(3, 5, bias=False)})
    model["head"].weight = model["embedding"].weight
    return saved(model, path, lambda loaded: loaded.state_dict())


@shape("a module with weight_norm, spectral_norm and hooks")
def _(path):
    model = torch.nn.Sequential(torch.nn.utils.weight_norm(torch.nn.Linear(3, 3)),
                                torch.nn.utils.spectral_norm(torch.nn.Linear(3, 3)))
    # The weights that the hooks compute are attributes, and plain tensors.
    return saved(model, path, lambda loaded: loaded.state_dict() | {"0.weight": loaded[0].weight, "1.weight": loaded[1].weight})


@shape("an optimizer's state: Adam, SGD, LBFGS")
def _(path):
    model, adam = trained()
    lbfgs = torch.optim.LBFGS(model.parameters())
    lbfgs.step(lambda: model(torch.ones(1, 4)).sum())
    return saved([adam.state_dict(), torch.optim.SGD(model.parameters(), lr=1).state_dict(), lbfgs.state_dict()], path)


@shape("Namespace, dataclass, enum, partial, paths, dates")
def _(path):
    config = Config(3, Precision.HALF, pathlib.Path("/data"), torch.ones(3))
    return saved({"args": argparse.Namespace(mean=torch.zeros(2), mode=Precision.FULL), "config": config, "made": datetime.datetime.now(),
                  "zone": datetime.timezone.utc, "make": functools.partial(torch.nn.Linear, 3), "device": torch.device("cpu")}, path,
                 lambda loaded: {"args.mean": loaded["args"].mean, "config.mean": loaded["config"].mean})


@shape("omegaconf's or hydra's configuration")
def _(path):
    try:
        import omegaconf
        config = omegaconf.OmegaConf.create({"model": {"width": 4, "layers": [1, 2]}, "lr": 0.1})
    except ImportError:
        config = Config(3, Precision.FULL, pathlib.Path("."), None)
    return saved({"cfg": config, "state_dict": network().state_dict()}, path,
                 lambda loaded: below("state_dict", loaded["state_dict"]))


@shape("NumPy scalars and arrays beside tensors")
def _(path):
    return saved({"best": numpy.float64(0.5), "labels": numpy.arange(3), "epoch": numpy.int64(3), "weight": torch.ones(2),
                  "names": numpy.array(["a", "b"], dtype=object)}, path)


@shape("states of random generators")
def _(path):
    return saved({"torch": torch.get_rng_state(), "numpy": numpy.random.RandomState(1).get_state(),
                  "python": random.Random(1).getstate(), "cuda": [torch.get_rng_state()]}, path)


@shape("views of one storage: slices, transposed, expanded, channels_last")
def _(path):
    whole = torch.arange(48.0).reshape(2, 3, 4, 2)
    return saved({"whole": whole, "part": whole[1:], "rows": whole[0, 0].t(), "wide": torch.ones(1).expand(4, 5),
                  "steps": whole[..., ::2], "last": whole.to(memory_format=torch.channels_last)}, path)


@shape("sparse, nested, meta, conjugated and complex128 tensors", left=["coo", "csr", "nested", "meta", "conj", "wide"])
def _(path):
    value = {"coo": torch.eye(3).to_sparse(), "csr": torch.eye(3).to_sparse_csr(),
             "nested": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "meta": torch.empty(3, device="meta"),
             "conj": torch.ones(2, dtype=torch.complex64).conj(), "wide": torch.ones(2, dtype=torch.complex128), "w": torch.ones(2)}
    return saved(value, path, lambda loaded: {"w": loaded["w"]})


@shape("quantized tensors and modules", left=["q"])
def _(path):
    quantized = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
    return saved({"q": quantized, "scale": torch.tensor(0.1)}, path, lambda loaded: {"scale": loaded["scale"]})


@shape("types that have no storage class: float8, uint16, uint32")
def _(path):
    bits = torch.arange(8, dtype=torch.uint8)
    return saved({str(dtype): bits.clone().view(dtype) for dtype in (torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16, torch.uint32,
                                                              torch.uint64, torch.bfloat16)}, path)


@shape("TorchScript, scripted")
def _(path):
    module = torch.jit.script(network())
    module.save(path)
    return torch.jit.load(path).state_dict()


@shape("TorchScript, traced")
def _(path):
    torch.jit.trace(network(), torch.ones(1, 4)).save(path)
    return torch.jit.load(path).state_dict()


@shape("a program of torch.export (.pt2)")
def _(path):
    torch.export.save(torch.export.export(network(), (torch.ones(1, 4),)), path)
    return dict(torch.export.load(path).state_dict)


@shape("an archive of torch.package", refused="torch.package")
def _(path):
    with torch.package.PackageExporter(path) as exporter:
        exporter.intern("torch_shapes_none.**", allow_empty=True)
        exporter.extern(["torch.**", "collections.**", "sys", "io"])
        exporter.save_pickle("model", "model.pkl", network().state_dict())


@shape("the form before PyTorch 1.6")
def _(path):
    model, optimizer = trained()
    return saved({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, path, _use_new_zipfile_serialization=False)


@shape("the form before PyTorch 1.6, a whole module")
def _(path):
    return saved(Block(), path, lambda loaded: loaded.state_dict() | {"stride": loaded.stride}, _use_new_zipfile_serialization=False)


@shape("the tar form before PyTorch 0.1.10")
def _(path):
    write_tar(path)
    return torch_saves.collect(torch.load(path, weights_only=False), "", {})


@shape("subclasses of Tensor, parameters with attributes")
def _(path):
    special = torch.ones(3).as_subclass(Special)
    special.note = "x"
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.sharded = True
    return saved({"special": special, "parameter": parameter, "buffer": torch.nn.Buffer(torch.ones(1))}, path)


@shape("a DTensor's piece", left=["w"])
def _(path):
    import torch.distributed as dist
    from torch.distributed.tensor import Shard, distribute_tensor
    if not dist.is_initialized():
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    tensor = distribute_tensor(torch.ones(4), dist.init_device_mesh("cpu", (1,)), [Shard(0)])
    return saved({"w": tensor, "b": torch.ones(1)}, path,
                 lambda loaded: {"b": loaded["b"], "w._local_tensor": loaded["w"].to_local(),
                                 "w._spec.mesh._rank_map": loaded["w"].device_mesh._rank_map})


@shape("named tuples, slots, sets, ordered and counting dictionaries, deques")
def _(path):
    slots = Slots()
    slots.weight, slots.name = torch.ones(2), "s"
    return saved({"pair": Pair(torch.ones(1), torch.zeros(1)), "slots": slots, "counts": collections.Counter("aab"), "seen": {1, 2},
                  "last": collections.deque([torch.ones(2), torch.zeros(2)], 5),
                  "many": collections.defaultdict(list, {"a": [torch.ones(3)]})}, path,
                 lambda loaded: {"pair.0": loaded["pair"].left, "pair.1": loaded["pair"].right, "slots.weight": loaded["slots"].weight,
                                 "last.0": loaded["last"][0], "last.1": loaded["last"][1], "many.a.0": loaded["many"]["a"][0]})


@shape("a tensor alone")
def _(path):
    return saved(torch.randn(3, 4), path)


@shape("a list of tensors, integers as keys, keys that differ by type")
def _(path):
    return saved({"list": [torch.ones(1), torch.zeros(2)], 0: torch.ones(3), 1: {2: torch.ones(4)}}, path)


@shape("no checksums (set_crc32_options)")
def _(path):
    torch.serialization.set_crc32_options(False)
    try:
        return saved(network().state_dict(), path)
    finally:
        torch.serialization.set_crc32_options(True)


def write_tar(path):
    """The format of PyTorch 0.1.9: tensors and storages have numbers, and each is in a file of its own."""
    import pickle

    class Pickler(pickle._Pickler):
        def persistent_id(self, value):
            return value.number if isinstance(value, Number) else None

    class Number:
        def __init__(self, number):
            self.number = number

    def pickled(value):
        stream = io.BytesIO()
        Pickler(stream, 2).dump(value)
        return stream.getvalue()

    data = struct.pack("<6f", *range(6))
    storages = pickled(1) + pickled((7, "cpu", torch.FloatStorage)) + struct.pack("<q", 6) + data + pickled([])
    tensors = pickled(2)
    for number, sizes, strides, offset in ((8, (2, 3), (3, 1), 0), (9, (3, 2), (1, 3), 0)):
        tensors += pickled((number, 7, torch.FloatTensor)) + struct.pack("<i", len(sizes)) + b"\0\0\0\0"
        tensors += struct.pack(f"<{2 * len(sizes) + 1}q", *sizes, *strides, offset)
    files = {"sys_info": pickled({"protocol_version": 1000, "little_endian": True}), "storages": storages, "tensors": tensors,
             "pickle": pickled(collections.OrderedDict([("w", Number(8)), ("t", Number(9)), ("epoch", 3)]))}
    with tarfile.open(path, "w:", format=tarfile.PAX_FORMAT) as archive:
        for name, contents in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(contents)
            archive.addfile(member, io.BytesIO(contents))


# MARK: The comparison

def compare(stmount, title, directory):
    """A row of the table. The second value describes an error, or is None."""
    write, refused, left = SHAPES[title]
    path, mount = os.path.join(directory, "m.pt"), os.path.join(directory, "mount")
    expected = write(path)
    result = subprocess.run([stmount, path, mount], capture_output=True, text=True)
    if refused is not None:
        message = result.stderr.strip()
        return f"refused: {message.split(': ', 2)[-1]}", None if result.returncode == 65 and refused in message else message
    if result.returncode != 0:
        return "refused", result.stderr
    try:
        with open(os.path.join(mount, "metadata.json"), encoding="utf-8") as file:
            document = json.load(file)
        entries, omitted = document["tensors"], list(document.get("omitted", {}))
        wrong = sorted(set(expected) ^ set(entries))
        for name in set(expected) & set(entries):
            with open(os.path.join(mount, entries[name]["path"]), "rb") as file:
                if file.read() != torch_saves.contents(expected[name]) or entries[name]["shape"] != list(expected[name].shape):
                    wrong.append(f"{name}: other bytes")
        wrong += [f"{name}: left out without a word" for name in left if name not in omitted or f"'{name}'" not in result.stderr]
        text = f"{len(expected)} tensors, the same" + (f"; left out by name: {', '.join(sorted(omitted))}" if omitted else "")
        return text, wrong or None
    finally:
        subprocess.run(["umount", mount], check=True)


def compare_anew(stmount, title):
    with tempfile.TemporaryDirectory() as directory:
        os.mkdir(os.path.join(directory, "mount"))
        return compare(stmount, title, directory)


def main(stmount):
    warnings.simplefilter("ignore")
    failed, siblings = 0, 0
    print("| shape | now |\n| --- | --- |")
    for title in SHAPES:
        SAVED.clear()
        text, wrong = compare_anew(stmount, title)
        failed += wrong is not None
        print(f"| {title} | {text if wrong is None else f'WRONG: {wrong}'} |", flush=True)
        # All protocols and both forms must give the same result.
        for protocol, is_archive in itertools.product(range(2, 6), (True, False)) if SAVED else ():
            OPTIONS.update(pickle_protocol=protocol, _use_new_zipfile_serialization=is_archive)
            try:
                text, wrong = compare_anew(stmount, title)
            except Unloadable:
                continue
            siblings += 1
            failed += wrong is not None
            if wrong is not None:
                print(f"WRONG: {title}, protocol {protocol}, {'an archive' if is_archive else 'the older form'}: {wrong}")
        OPTIONS.clear()
    print(f"\nPyTorch {torch.__version__}: {len(SHAPES)} shapes, {siblings} siblings, {failed} wrong")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
