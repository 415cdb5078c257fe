#!/usr/bin/env python3
"""Makes PyTorch write distributed checkpoints with several processes. Compares every tensor of a mount, and of stpack's output,
with the whole tensors.

usage: distributed_saves.py STMOUNT STPACK COUNT SEED

COUNT checkpoints for each mesh of processes, in both formats of torch.distributed.checkpoint: `.metadata` with `*.distcp`, and
safetensors with DCP_SHARDING_INFO, consolidated or not. Slices are along any dimensions, even and uneven. Objects with tensors
in them are among the values.
"""

import argparse
import logging
import os
import random
import sys
import tempfile
import types
import warnings

import safetensors.torch
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.multiprocessing
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

import torch_saves

MESHES = [(1,), (2,), (3,), (4,), (2, 2), (2, 3), (2, 2, 2)]
# The dtypes that the safetensors writer supports. Consolidation supports only the first ones.
FLOATS = [torch.float32, torch.float16, torch.bfloat16, torch.float64]
DTYPES = FLOATS + [torch.int64, torch.int32, torch.uint8]


def whole(chance, dtypes=DTYPES):
    dtype = chance.choice(dtypes)
    shape = [chance.choice([1, 2, 3, 4, 5, 7, 8, 13]) for _ in range(chance.choice([0, 1, 1, 2, 2, 3, 4]))]
    return torch_saves.elements(chance, dtype, torch.Size(shape).numel()).reshape(shape)


def placements(chance, value, mesh):
    """Where each dimension of the mesh cuts a tensor."""
    if value.dim() == 0:
        return [Replicate()] * len(mesh)
    return [Shard(chance.randrange(value.dim())) if chance.randrange(4) else Replicate() for _ in mesh]


def distributed(chance, mesh, value, device_mesh):
    """A tensor in slices, one of which this process has."""
    places = placements(chance, value, mesh)
    return distribute_tensor(value, device_mesh, places, src_data_rank=None) if chance.randrange(5) else value


def objects(chance):
    """Values that contain tensors but are not tensors."""
    yield "arguments", argparse.Namespace(mean=whole(chance), lr=0.1)
    yield "pair", (whole(chance), {"a": whole(chance)})
    yield "space", types.SimpleNamespace(best=[whole(chance)])
    yield "epoch", 3
    yield "nothing", None


def found(value):
    """The tensors in a value, by name."""
    def plain(item):
        if isinstance(item, (argparse.Namespace, types.SimpleNamespace)):
            return {name: plain(part) for name, part in vars(item).items()}
        if isinstance(item, dict):
            return {name: plain(part) for name, part in item.items()}
        return type(item)(map(plain, item)) if type(item) in (list, tuple) else item
    return torch_saves.collect(plain(value), "", {})


def writer(kind, path, chance, names):
    if kind == "distcp":
        return dcp.FileSystemWriter(path, single_file_per_rank=chance.choice([True, False]),
                                    thread_count=chance.choice([1, 2]), sync_files=False)
    files = chance.choice([1, 3])
    mapping = {name: chance.randrange(1, files + 1) for name in names} if chance.randrange(2) else None
    return HuggingFaceStorageWriter(path, fqn_to_index_mapping=mapping, save_distributed=kind != "hf-whole",
                                    enable_consolidation=kind == "hf-consolidated")


def save(number, seed, mesh, device_mesh, directory):
    """Writes one checkpoint with all processes. Returns the expected tensors."""
    # Each process makes the same random choices.
    chance = random.Random(f"{seed} {mesh} {number}")
    kind = ["distcp", "distcp", "hf", "hf-consolidated", "hf-whole"][number % 5]
    dtypes = FLOATS if kind == "hf-consolidated" else DTYPES
    tensors = {f"layers.{name}.weight": whole(chance, dtypes) for name in range(chance.randrange(1, 6))}
    state = {name: value if kind == "hf-whole" else distributed(chance, mesh, value, device_mesh)
             for name, value in tensors.items()}
    path = os.path.join(directory, f"{len(mesh)}-{number}-{kind}")
    collectives, flatten = True, True
    if kind == "distcp":
        others = dict(objects(chance))
        nested = {"model": {"w": whole(chance), "list": [whole(chance)]}}
        state |= others | nested
        tensors |= others | nested
        flatten = chance.choice([True, False])
        collectives = chance.choice([True, False])
    storage = writer(kind, path, chance, list(tensors))
    # One process writes the whole tensors, because several would overwrite each other's files.
    if kind != "hf-whole" or dist.get_rank() == 0:
        dcp.save(state, storage_writer=storage, use_collectives=collectives, no_dist=kind == "hf-whole",
                 planner=dcp.DefaultSavePlanner(flatten_state_dict=flatten))
    dist.barrier()
    return path, found(tensors)


def consolidated(path):
    """The whole tensors as PyTorch assembles them."""
    files = [os.path.join(path, name) for name in os.listdir(path) if name.endswith(".safetensors")]
    return {name: value for file in files for name, value in safetensors.torch.load_file(file).items()}


def work(rank, mesh, directory, tools, count, seed):
    warnings.simplefilter("ignore")
    logging.disable()
    torch.set_num_threads(1)
    size = torch.Size(mesh).numel()
    dist.init_process_group("gloo", init_method=f"file://{directory}/store{mesh}", rank=rank, world_size=size)
    device_mesh = dist.init_device_mesh("cpu", mesh)
    tensors = 0
    for number in range(count):
        path, expected = save(number, seed, mesh, device_mesh, directory)
        if rank == 0:
            if "consolidated" in path:
                # PyTorch leaves zeros in place of scalars there, so the expected values are those in its files.
                torch_saves.compare_tensors(consolidated(path), path, directory, tools)
                path = os.path.join(path, "sharded")
            # If each rank has its own metadata, each has a copy of every object.
            torch_saves.compare_tensors(expected, path, directory, tools)
            tensors += len(expected)
    if rank == 0:
        print(f"{'x'.join(map(str, mesh))} processes: {count} checkpoints, {tensors} tensors, all the same", flush=True)
    dist.barrier()
    dist.destroy_process_group()


def main(stmount, stpack, count, seed):
    for mesh in MESHES:
        with tempfile.TemporaryDirectory() as directory:
            os.mkdir(os.path.join(directory, "mount"))
            torch.multiprocessing.start_processes(
                work, (mesh, directory, (stmount, stpack), count, seed), nprocs=torch.Size(mesh).numel(),
                start_method="fork")
    print(f"PyTorch {torch.__version__}, seed {seed}")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
