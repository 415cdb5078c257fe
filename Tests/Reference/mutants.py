"""Makes safetensors files with small random changes, for differential.py. The seed decides the changes."""

import json
import re
import struct

BITS = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}
NAMES = ["a", "b", "w", "layer.0.weight", "", "/", "..", "__metadata__", "é", "e\u0301", "\U0001f600", "\0", "\x1b[2J", "\x7f",
         "\u2028", "x" * 300, "dtype", "shape", "data_offsets"]
NUMBERS = ["0", "1", "2", "3", "7", "8", "-0", "-1", "00", "01", "1.0", "0.0", "1e0", "1E+2", "2e-1", "1.", ".5", "+1", "0x1",
           "4294967296", "9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616",
           "-18446744073709551615", "1" * 400, "1e400", "1e-400", "NaN", "Infinity", "true", "null", '"1"', "[1]", "{}"]
VALUES = ["null", "true", "false", "0", "-1.5e3", '""', '"x"', "[]", "{}", "[null]", '{"a":{"b":[]}}', "[[1,2],[3]]", "tru", "nul",
          '"\\u0000"', '"\\ud83d\\ude00"', '"\\ud800"', '"\\ude00\\ud83d"', '"\\x"', '"\\"', "'x'", "//", ""]
TOKENS = ["{", "}", "[", "]", ",", ":", '"', "\\", " ", "\t", "\n", "\r", "\x0b", "\x0c", "\0", "\x1f", "\x7f", "\xa0", "\u2028",
          "\ufeff", "null", "0", "-", "e", ".", '"dtype":"F32",', '"shape":[],', '"data_offsets":[0,0],', '"__metadata__":{},',
          '"__metadata__":null,', '"k":"v",', '"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},', "/**/", "#"]


def string(text, chance):
    """A JSON string, sometimes with unnecessary escapes."""
    plain = json.dumps(text, ensure_ascii=chance.random() < 0.5)
    if chance.random() < 0.9 or not text:
        return plain
    units = text.encode("utf-16-be", "surrogatepass")
    form = chance.choice(["\\u{:04x}", "\\u{:04X}"])
    return '"' + "".join(form.format(unit) for (unit,) in struct.iter_unpack(">H", units)) + '"'


def junk(chance):
    """A value that no field has, sometimes deeply nested."""
    if chance.random() < 0.2:
        depth = chance.choice([1, 5, 100, 124, 125, 126, 127, 128, 129, 300])
        opening, closing = chance.choice([("[", "]"), ('{"a":', "}")])
        return opening * depth + chance.choice(["1", "[]"]) + closing * depth
    return chance.choice(VALUES)


def sound(chance):
    """The entries of a valid header, as pairs of name and fields, which are texts; and the data."""
    names = chance.sample(NAMES[:5] + NAMES[6:7] + NAMES[8:], chance.choice([0, 1, 1, 2, 2, 3, 5]))
    tensors = []
    for name in names:
        dtype = chance.choice(list(BITS))
        shape = [chance.choice([0, 1, 2, 3, 4, 8]) for _ in range(chance.choice([0, 1, 1, 2, 3]))]
        if BITS[dtype] < 8:
            shape.append(4)
        count = BITS[dtype]
        for dimension in shape:
            count *= dimension
        tensors.append((name, dtype, shape, count // 8))
    end = 0
    entries = []
    for name, dtype, shape, size in tensors:
        fields = [('"dtype"', f'"{dtype}"'), ('"shape"', json.dumps(shape)), ('"data_offsets"', f"[{end},{end + size}]")]
        chance.shuffle(fields)
        entries.append((string(name, chance), fields))
        end += size
    chance.shuffle(entries)
    if chance.random() < 0.4:
        pairs = [(string(chance.choice(NAMES), chance), string(chance.choice(NAMES), chance)) for _ in range(chance.randrange(3))]
        entries.insert(chance.randrange(len(entries) + 1), ('"__metadata__"', pairs))
    return entries, chance.randbytes(end)


def change_entries(entries, chance):
    """Makes one change that usually keeps the text valid JSON."""
    kind = chance.randrange(9)
    if not entries or kind == 0:
        fields = [('"dtype"', '"U8"'), ('"shape"', "[0]"), ('"data_offsets"', "[0,0]")]
        entries.append((string(chance.choice(NAMES), chance), fields))
        return
    place = chance.randrange(len(entries))
    name, fields = entries[place]
    if kind == 1:
        entries.insert(chance.randrange(len(entries) + 1), (name, fields[:]))
    elif kind == 2:
        del entries[place]
    elif kind == 3:
        entries[place] = (string(chance.choice(NAMES), chance), fields)
    elif kind == 4 or not isinstance(fields, list) or not fields:
        entries[place] = (name, junk(chance))
    elif kind == 5:
        fields.insert(chance.randrange(len(fields) + 1), (string(chance.choice(NAMES), chance), junk(chance)))
    elif kind == 6:
        field = chance.randrange(len(fields))
        dtype = chance.choice(list(BITS))
        value = chance.choice(
            [junk(chance), f'"{dtype}"', f'{{"{dtype}":null}}', f'"{dtype.lower()}"', f'"{dtype} "', "[0,0]", "[]", "[0,0,0]"])
        fields[field] = (fields[field][0], value)
    elif kind == 7:
        chance.choice([lambda: fields.pop(chance.randrange(len(fields))), lambda: fields.append(chance.choice(fields))])()
    else:
        # The fields in the order that a reader of arrays expects.
        order = ['"dtype"', '"shape"', '"data_offsets"']
        values = [value for key in order for found, value in fields if found == key]
        entries[place] = (name, "[" + ",".join(values[: chance.choice([3, 3, 3, 2, 1])]) + chance.choice(["]", "]", ",1]"]))


def text(entries, chance):
    """The header."""
    space = chance.choice(["", "", "", " ", "\n", "\t\r"])
    def value(fields):
        if isinstance(fields, str):
            return fields
        return "{" + f",{space}".join(f"{key}{space}:{field}" for key, field in fields) + space + "}"
    return "{" + space + f"{space},".join(f"{name}:{space}{value(fields)}" for name, fields in entries) + "}"


def change_text(header, chance):
    """Changes one place of the text, at any byte."""
    kind = chance.randrange(6)
    place = chance.randrange(len(header) + 1)
    if kind <= 1:
        numbers = list(re.finditer(rb"\d+", header))
        if numbers:
            number = chance.choice(numbers)
            digits = number[0]
            near = [str(int(digits) + step).encode() for step in (-1, 1, 8)] if len(digits) < 30 else [b"1"]
            new = chance.choice(near + [chance.choice(NUMBERS).encode()])
            return header[: number.start()] + new + header[number.end():]
    if kind == 2:
        return header[:place] + chance.choice(TOKENS).encode("utf-8", "surrogatepass") + header[place:]
    if kind == 3:
        return header[:place] + header[place + chance.choice([1, 1, 2, 5]):]
    if kind == 4 and header:
        place = min(place, len(header) - 1)
        return header[:place] + bytes([header[place] ^ 1 << chance.randrange(8)]) + header[place + 1:]
    end = place + chance.choice([1, 4, 20, 80])
    return header[:end] + header[place:end] + header[end:]


def mutant(chance):
    """A whole file."""
    entries, data = sound(chance)
    for _ in range(chance.choice([0, 1, 1, 2])):
        change_entries(entries, chance)
    header = text(entries, chance).encode("utf-8", "surrogatepass")
    for _ in range(chance.choice([0, 0, 0, 1, 1, 2])):
        header = change_text(header, chance)
    header += chance.choice([b"", b" " * (-len(header) % 8), b" ", b"\n"]) if chance.random() < 0.97 else b"\0"
    if chance.random() < 0.03:
        data = chance.choice([data[:-1], data + b"\0"])
    length = len(header)
    if chance.random() < 0.02:
        length = max(0, length + chance.choice([-8, -1, 1, 8, 1 << 20, 100_000_000, 1 << 62, 1 << 63]))
    return struct.pack("<Q", length) + header + data
