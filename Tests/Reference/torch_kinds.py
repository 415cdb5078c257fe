#!/usr/bin/env python3
"""Shapes of checkpoints that torch_shapes.py lacks: Python's containers, more kinds of tensors and modules.

usage: torch_kinds.py STMOUNT

Compares all shapes, including those of torch_shapes.py.
"""

import array
import collections
import copy
import dataclasses
import datetime
import decimal
import fractions
import functools
import ipaddress
import re
import sys
import types
import uuid

import torch
import torch.distributed as dist
import torch.nn.utils.prune

import torch_shapes
from torch_shapes import below, network, saved, shape


class Ordered(collections.OrderedDict):
    """A dictionary that also has attributes."""


class Names(list):
    """A list that also has attributes."""


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    mean: torch.Tensor
    name: str


class Failed(Exception):
    pass


class State:
    """An object whose state is not a dictionary."""

    def __init__(self, *values):
        self.values = values

    def __getstate__(self):
        return self.values

    def __setstate__(self, state):
        self.values = state


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList([torch.nn.Linear(2, 2), torch.nn.ModuleDict({"a": torch.nn.LayerNorm(3)})])
        self.weights = torch.nn.ParameterList([torch.ones(1), torch.zeros(2)])
        self.named = torch.nn.ParameterDict({"x": torch.nn.Parameter(torch.ones(3))})
        self.register_buffer("kept", torch.ones(4))
        self.register_buffer("passing", torch.zeros(5), persistent=False)
        self.shared = self.layers[0]
        self.register_forward_hook(functools.partial(print, end=""))
        self.none = None
        self.register_parameter("absent", None)


def process_group():
    if not dist.is_initialized():
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)


# MARK: Containers

@shape("mappings and sequences of Python: UserDict, ChainMap, subclasses with attributes, a defaultdict with a factory")
def _(path):
    a, b, c = torch.ones(1), torch.zeros(2), torch.ones(3)
    ordered = Ordered(k=a)
    ordered.mean = b
    names = Names([a, b])
    names.mean = c
    factory = collections.defaultdict(functools.partial(dict, x=1), {"k": a})
    value = {"user": collections.UserDict({"k": a}), "list": collections.UserList([a, b]),
             "chain": collections.ChainMap({"k": a}, {"k": b}), "ordered": ordered, "names": names, "factory": [factory, factory],
             "proxy": types.SimpleNamespace(inner=types.SimpleNamespace(w=c)), "set": frozenset([a])}
    return saved(value, path, lambda _: {
        "user.data.k": a, "list.data.0": a, "list.data.1": b, "chain.maps.0.k": a, "chain.maps.1.k": b, "ordered.k": a,
        "ordered.mean": b, "names.0": a, "names.1": b, "names.mean": c, "factory.0.k": a, "factory.1.k": a,
        "proxy.inner.w": c, "set.0": a})


@shape("dataclasses with slots, exceptions, partials, states that are no dictionary")
def _(path):
    a, b = torch.ones(1), torch.zeros(2)
    value = {"frozen": Frozen(a, "x"), "error": Failed("no", a), "partial": functools.partial(max, a, key=b),
             "tuple": State(1, a), "alone": State(a, None, b)}
    return saved(value, path, lambda _: {
        "frozen.0": a, "error.1": a, "partial.1.0": a, "partial.2.key": b, "tuple.1": a, "alone.0": a, "alone.2": b})


@shape("values of Python beside tensors")
def _(path):
    zone = datetime.timezone(datetime.timedelta(hours=2), "x")
    value = [datetime.datetime.now(zone), datetime.date(2026, 1, 1), datetime.time(1, tzinfo=zone), decimal.Decimal("0.1"),
             fractions.Fraction(1, 3), uuid.uuid4(), ipaddress.ip_address("::1"), re.compile("a+"), range(3), slice(1, None, 2),
             1j, ..., NotImplemented, b"b", bytearray(b"a" * 300), 1 << 100, -(1 << 2000), float("nan"), "\N{SNOWMAN}" * 300, "",
             array.array("f", [1, 2]), type(None), int, len, str.upper, "a".join, collections.Counter("aab"), {1, 2}, frozenset("ab"),
             collections.deque([1], 3), torch.Size([1]), torch.strided, torch.per_tensor_affine,
             torch.finfo(torch.float16).dtype, torch.device("cuda:1"), (), [], {}, True, None]
    return saved({"values": value, "w": torch.ones(2)}, path, lambda loaded: {"w": loaded["w"]})


@shape("keys that are numbers, None, types and texts that no file name can be")
def _(path):
    a = torch.ones(1)
    value = {0: a, -1: a, 1 << 40: a, True: a, None: a, torch.float16: a, "": a, "a/b": a, "..": a, "\n": a, "x" * 300: a}
    return saved(value, path, lambda _: {"tensor" if str(key) == "" else str(key): a for key in value})


# MARK: Tensors

@shape("every element type", left=["complex32", "complex128", "bits8", "bits16", "bits4x2"])
def _(path):
    names = ["float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
             "bool", "complex64", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"]
    left = ["complex32", "complex128", "bits8", "bits16", "bits4x2"]
    bits = torch.ones(32, dtype=torch.uint8)
    value = {name: bits.clone().view(getattr(torch, name)) for name in names + left}
    return saved(value, path, lambda loaded: {name: loaded[name] for name in names})


@shape("every layout of sparse tensors, and every scheme of quantized ones",
       left=["csr", "csc", "bsr", "bsc", "coo", "tensor", "channel", "q32"])
def _(path):
    eye = torch.eye(4)
    channel = torch.quantize_per_channel(eye, torch.ones(4), torch.zeros(4, dtype=torch.int64), 0, torch.quint8)
    value = {"csr": eye.to_sparse_csr(), "csc": eye.to_sparse_csc(), "bsr": eye.to_sparse_bsr(2), "bsc": eye.to_sparse_bsc(2),
             "coo": eye.to_sparse(), "tensor": torch.quantize_per_tensor(eye, 0.1, 1, torch.qint8), "channel": channel,
             "q32": torch.quantize_per_tensor(eye, 0.1, 0, torch.qint32), "w": eye}
    return saved(value, path, lambda loaded: {"w": loaded["w"]})


@shape("storages that several tensors share, of several types and at offsets")
def _(path):
    storage = torch.arange(64, dtype=torch.uint8)
    floats = storage.view(torch.float32)
    value = {"bytes": floats.view(torch.int32)[3:], "halves": floats[4:], "strided": floats.as_strided((2, 3), (5, 2), 1),
             "back": floats[:0], "scalar": floats[7], "overlap": floats.unfold(0, 4, 1), "diagonal": floats.reshape(4, 4).diagonal()}
    # Tensors of two dtypes cannot share a storage in a file.
    value = {name: item if item.dtype == torch.float32 else item.clone() for name, item in value.items()}
    return saved(value, path)


@shape("a ShardedTensor's pieces", left=["w"])
def _(path):
    process_group()
    from torch.distributed._shard import sharded_tensor
    from torch.distributed._shard.sharding_spec import ChunkShardingSpec
    whole = sharded_tensor.rand(ChunkShardingSpec(dim=0, placements=["rank:0/cpu"]), 4, 2)
    local = whole.local_shards()[0].tensor
    # Loading one needs a group with the same number of processes.
    torch.save({"w": whole, "b": torch.ones(1)}, path, **torch_shapes.OPTIONS)
    return {"b": torch.ones(1), "w.0.0.tensor": local}


@shape("objects of PyTorch that hold tensors: distributions, packed sequences, datasets")
def _(path):
    normal = torch.distributions.Normal(torch.zeros(2), torch.ones(2))
    packed = torch.nn.utils.rnn.pack_sequence([torch.ones(3), torch.ones(2)])
    data = torch.utils.data.Subset(torch.utils.data.TensorDataset(torch.ones(4, 2), torch.zeros(4)), [0, 2])
    return saved({"normal": normal, "packed": packed, "data": data}, path, lambda loaded: {
        "normal.loc": normal.loc, "normal.scale": normal.scale, "packed.0": packed.data, "packed.1": packed.batch_sizes,
        "data.dataset.tensors.0": torch.ones(4, 2), "data.dataset.tensors.1": torch.zeros(4)})


# MARK: Modules

@shape("a module with lists and dictionaries of parameters, hooks, a shared module, a buffer that is not persistent")
def _(path):
    return saved({"net": Net()}, path, lambda loaded: below("net", loaded["net"].state_dict())
                 | {"net.passing": loaded["net"].passing})


@shape("a pruned module, an average of a module, one in DataParallel, one of torch.fx")
def _(path):
    pruned = torch.nn.Linear(3, 2)
    torch.nn.utils.prune.l1_unstructured(pruned, "weight", 2)
    value = {"pruned": pruned, "average": torch.optim.swa_utils.AveragedModel(network()),
             "parallel": torch.nn.DataParallel(network()), "graph": torch.fx.symbolic_trace(network())}
    # torch.fx passes its dictionaries to a function, as the first argument.
    prefix = {"graph": "graph.0"}
    return saved(value, path, lambda loaded: {f"{prefix.get(name, name)}.{key}": tensor for name, module in loaded.items()
                                              for key, tensor in module.state_dict().items()}
                 | {"pruned.weight": loaded["pruned"].weight})


@shape("a transformer, recurrent networks, attention, embeddings")
def _(path):
    modules = {"encoder": torch.nn.TransformerEncoderLayer(4, 2, 8), "attention": torch.nn.MultiheadAttention(4, 2, bias=False),
               "embedding": torch.nn.EmbeddingBag(5, 3), "norm": torch.nn.GroupNorm(1, 2), "lstm": torch.nn.LSTM(2, 3, 2)}
    return saved(copy.deepcopy(modules), path, lambda loaded: {f"{name}.{key}": tensor for name, module in loaded.items()
                                                               for key, tensor in module.state_dict().items()}
                 | {f"lstm._flat_weights.{place}": tensor for place, tensor in enumerate(loaded["lstm"]._flat_weights)})


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    torch_shapes.main(sys.argv[1])
