"""Random objects that PyTorch saves, with random changes of their pickles or archives."""

import argparse
import collections
import io
import pickletools
import struct
import zlib

import torch

Pair = collections.namedtuple("Pair", "left right")
DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool, torch.complex64,
          torch.uint16, torch.float8_e4m3fn, torch.float64]
# Names that harmless files have. None of these functions has an effect.
GLOBALS = ["collections OrderedDict", "collections Counter", "collections deque", "torch Size", "torch float16",
           "torch FloatStorage", "torch HalfStorage", "torch LongStorage", "torch.storage UntypedStorage",
           "torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor_v3",
           "torch._utils _rebuild_parameter", "torch._tensor _rebuild_from_type_v2", "torch FloatTensor",
           "torch Tensor", "torch.nn.parameter Parameter", "argparse Namespace", "__builtin__ list", "__builtin__ set",
           "__builtin__ dict", "__builtin__ tuple", "collections defaultdict", "torch.autograd.variable Variable",
           "torch.cuda FloatStorage", "torch._tensor _rebuild_from_type", "torch.tensor _rebuild_from_type_v2"]
# torch.save uses protocol 2 by default.
PROTOCOLS = [2, 2, 2, 3, 4, 5]
OPCODES = [b"N", b"\x88", b"\x89", b"(", b"t", b"]", b"}", b")", b"\x85", b"\x86", b"\x87", b"s", b"u", b"a", b"e", b"R",
           b"b", b"\x81", b"0", b"1", b"Q", b"K\0", b"K\1", b"K\2", b"J\xff\xff\xff\xff", b"M\0\1", b"h\0", b"h\1", b"h\2",
           b"X\1\0\0\0a", b"X\1\0\0\0" + b"0", b"X\3\0\0\0neg", b"X\4\0\0\0conj", b"\x94", b"I1\n", b"l", b"d", b"\x8f", b"\x90"]


def tensor(chance):
    dtype = chance.choice(DTYPES)
    shape = [chance.choice([0, 1, 2, 3]) for _ in range(chance.choice([0, 1, 1, 2, 3]))]
    count = torch.Size(shape).numel()
    data = torch.tensor(list(chance.randbytes(count * dtype.itemsize)), dtype=torch.uint8)
    if dtype == torch.bool:
        data &= 1
    value = (data.view(dtype) if count else torch.empty(0, dtype=dtype)).reshape(shape)
    kind = chance.randrange(9)
    if kind == 0 and value.dim() > 1:
        return value.transpose(0, 1)
    if kind == 1 and value.dim():
        return value[chance.randrange(shape[0] + 1):]
    if kind == 2:
        return value.unsqueeze(0).expand(3, *shape)
    if kind == 3 and value.is_floating_point() and dtype.itemsize > 1:
        return torch.nn.Parameter(value)
    if kind == 4 and dtype == torch.complex64:
        return value.conj()
    if kind == 5 and value.dtype == torch.float32 and value.dim():
        return value.to_sparse()
    return value


def key(chance):
    return chance.choice(["a", "b", "weight", "a.b", "é", "", 0, 1, "0", "1", True, None, torch.float32, 2.5, (1,)])


def tree(chance, shared, depth=0):
    """Containers with tensors, some of which occur more than once."""
    kind = chance.randrange(14)
    if shared and kind == 0:
        return chance.choice(shared)
    if depth > 3 or kind < 5:
        made = tensor(chance)
    elif kind == 5:
        made = chance.choice([None, True, 7, 2.5, "text", torch.Size([2]), torch.float16, -1, 1 << 40])
    elif kind == 6:
        made = [tree(chance, shared, depth + 1) for _ in range(chance.randrange(4))]
    elif kind == 7:
        made = tuple(tree(chance, shared, depth + 1) for _ in range(chance.randrange(4)))
    elif kind == 8:
        made = argparse.Namespace(**{name: tree(chance, shared, depth + 1) for name in chance.sample("xyz", 2)})
    elif kind == 9:
        made = Pair(tree(chance, shared, depth + 1), tree(chance, shared, depth + 1))
    elif kind == 10:
        made = collections.deque([tree(chance, shared, depth + 1) for _ in range(chance.randrange(4))], chance.choice([None, 9]))
    else:
        made = chance.choice([dict, collections.OrderedDict])(
            (key(chance), tree(chance, shared, depth + 1)) for _ in range(chance.randrange(5)))
    shared.append(made)
    return made


# MARK: Pickles

def operations(pickle):
    """The opcodes of a pickle with their arguments, as bytes."""
    starts = [position for _, _, position in pickletools.genops(pickle)] + [len(pickle)]
    return [pickle[start:end] for start, end in zip(starts, starts[1:])]


def changed_pickle(chance, pickle):
    ops = operations(pickle)
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        at = chance.randrange(1, len(ops))
        other = chance.randrange(1, len(ops))
        kind = chance.randrange(9)
        if kind == 0:
            ops.pop(at) if len(ops) > 3 else None
        elif kind == 1:
            ops.insert(at, chance.choice(OPCODES))
        elif kind == 2:
            ops.insert(at, ops[other])
        elif kind == 3:
            ops[at], ops[other] = ops[other], ops[at]
        elif kind == 4:
            ops[at] = ops[other]
        elif kind == 5:
            start = min(at, other)
            ops[at:at] = ops[start:start + chance.randrange(1, 8)]
        elif kind == 6:
            names = [i for i, op in enumerate(ops) if op[:1] in (b"c", b"\x93")]
            if names:
                i = chance.choice(names)
                # STACK_GLOBAL takes its two texts from the stack.
                start = b"c" if ops[i][:1] == b"c" else b"00c"
                ops[i] = start + chance.choice(GLOBALS).replace(" ", "\n").encode() + b"\n"
        elif kind == 7:
            numbers = [i for i, op in enumerate(ops) if op[:1] in b"KMJhq"]
            if numbers:
                i = chance.choice(numbers)
                ops[i] = ops[i][:1] + bytes([chance.choice([0, 1, 2, 3, 4, 255])]) + ops[i][2:]
        else:
            texts = [i for i, op in enumerate(ops) if op[:1] == b"X"]
            if texts:
                ops[chance.choice(texts)] = ops[chance.choice(texts)]
    return b"".join(ops)


# MARK: Archives

def stored(entries):
    """A zip archive as PyTorch writes it, from (name, contents, attributes)."""
    file, central = bytearray(), bytearray()
    for name, contents, attributes in entries:
        start, checksum, size = len(file), zlib.crc32(contents), len(contents)
        sizes = struct.pack("<III", checksum, size, size)
        head = struct.pack("<HHHHH", 0, 0, 0, 0, 0) + sizes + struct.pack("<HH", len(name), 0)
        file += b"PK\3\4" + head + name + contents
        central += b"PK\1\2\0\0" + head + struct.pack("<HHHII", 0, 0, 0, attributes, start) + name
    count = len(entries)
    return bytes(file + central + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, count, count, len(central), len(file), 0))


def changed_entries(chance, entries):
    entries = list(entries)
    at = chance.randrange(len(entries))
    name, contents, attributes = entries[at]
    kind = chance.randrange(10)
    if kind == 0:
        entries[at] = (name.upper(), contents, attributes)
    elif kind == 1:
        entries.insert(chance.randrange(len(entries) + 1), (name.upper(), chance.choice(entries)[1], attributes))
    elif kind == 2:
        entries[at] = (name, contents, 0x10)
    elif kind == 3:
        entries.insert(0, (name.split(b"/")[0] + b"/", b"", 0x10))
    elif kind == 4:
        entries[at] = (name, contents[:-1], attributes)
    elif kind == 5:
        entries[at] = (name, contents + b"\0", attributes)
    elif kind == 6:
        entries.pop(at)
    elif kind == 7:
        entries.append((chance.choice([name, b"other/data.pkl", b"archive/BYTEORDER", b"archive/.data/x"]), b"big", 0))
    elif kind == 8:
        chance.shuffle(entries)
    else:
        entries[at] = (name, chance.choice(entries)[1], attributes)
    return entries


def file(chance):
    """A file that PyTorch saved, changed or not, in either form."""
    value = tree(chance, [])
    saved = io.BytesIO()
    if chance.randrange(4) == 0:
        torch.save(value, saved, pickle_protocol=chance.choice(PROTOCOLS), _use_new_zipfile_serialization=False)
        data = saved.getvalue()
        if chance.randrange(3) == 0:
            return data
        pickles, position = [], 0
        for _ in range(5):
            stream = io.BytesIO(data[position:])
            for _ in pickletools.genops(stream):
                pass
            pickles.append(data[position:position + stream.tell()])
            position += stream.tell()
        at = chance.choice([3, 3, 3, 3, 4])
        pickles[at] = changed_pickle(chance, pickles[at])
        return b"".join(pickles) + data[position:]
    torch.save(value, saved, pickle_protocol=chance.choice(PROTOCOLS))
    reader = torch._C.PyTorchFileReader(io.BytesIO(saved.getvalue()))
    entries = [(b"archive/" + name.encode(), reader.get_record(name), 0) for name in reader.get_all_records()]
    kind = chance.randrange(8)
    if kind == 0:
        return saved.getvalue()
    if kind < 3:
        entries = changed_entries(chance, entries)
    else:
        entries = [(name, changed_pickle(chance, contents) if name.endswith(b"data.pkl") else contents, attributes)
                   for name, contents, attributes in entries]
    return stored(entries)
