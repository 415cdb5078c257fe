#!/usr/bin/env python3
"""Compares the output of stpack --dequant for random quantised models with the formats' formulas in NumPy, bit by bit.

usage: dequantizing.py STPACK COUNT SEED

Each model has modules of one format in odd shapes, random shards, its configuration in one of the files that writers use, and
tensors that are not quantised. The formulas here come from the formats' descriptions and libraries, and compute value by value,
unlike stmount. Then the script damages one thing of each model: it removes a part, changes a type or a shape, adds a part of
another format, sets a scale to NaN, or changes the configuration's method. Each weight must then have the same numbers, or be shown
as it is stored. Prints how many models and tensors were the same.
"""

import json
import os
import random
import subprocess
import sys
import tempfile

import ml_dtypes
import numpy

DTYPES = {
    "F32": numpy.float32, "F16": numpy.float16, "BF16": ml_dtypes.bfloat16, "I8": numpy.int8, "U8": numpy.uint8,
    "I32": numpy.int32, "I64": numpy.int64, "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2,
    "F8_E8M0": ml_dtypes.float8_e8m0fnu,
}
E2M1 = numpy.array([0, .5, 1, 1.5, 2, 3, 4, 6, -0., -.5, -1, -1.5, -2, -3, -4, -6], numpy.float32)
MODELOPT_E2M1 = numpy.where(E2M1 == 0, numpy.float32(0), E2M1)
NF4 = numpy.array([
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0], numpy.float32)
FP4 = numpy.array([0, .0625, 8, 12, 4, 6, 2, 3], numpy.float32) / numpy.float32(12)
FP4 = numpy.concatenate((FP4, numpy.where(FP4 == 0, FP4, -FP4)))
AWQ_ORDER = [0, 4, 1, 5, 2, 6, 3, 7]
PREFIXES = ["model.layers.0.mlp.up_proj", "model.layers.11.self_attn.q_proj", "lm_head", "language_model.model.layers.3.o_proj"]


class Model:
    """Stored tensors, configuration files, and the expected tensors: an array for numbers, None for the stored bytes."""

    def __init__(self, chance):
        self.chance = chance
        self.random = numpy.random.default_rng(chance.randrange(2**32))
        self.tensors, self.expected, self.files = {}, {}, {}
        self.ordinary("model.norm.weight", "BF16", [8])
        if chance.random() < .5:
            self.ordinary("model.embed_tokens.weight", chance.choice(["BF16", "F32"]), [5, 4])
        if chance.random() < .3:
            self.ordinary("model.layers.0.q_norm.scale", "F32", [3])

    def put(self, name, dtype, array):
        array = numpy.ascontiguousarray(array)
        assert array.dtype == DTYPES[dtype], (name, array.dtype, dtype)
        self.tensors[name] = (dtype, list(array.shape), array.tobytes())

    def ordinary(self, name, dtype, shape):
        self.put(name, dtype, self.floats(shape, dtype))
        self.expected[name] = None

    def floats(self, shape, dtype="F32"):
        """Numbers of a type, with either sign and many magnitudes."""
        return (self.random.normal(size=shape) * 2.0 ** self.random.integers(-12, 6, shape)).astype(DTYPES[dtype])

    def scales(self, shape, dtype):
        if dtype in ("U8", "F8_E8M0"):
            return self.random.integers(0, 255, shape, dtype=numpy.uint8).view(DTYPES[dtype])
        return numpy.abs(self.floats(shape, dtype)) + DTYPES[dtype](2**-10)

    def bytes(self, shape, top=256):
        return self.random.integers(0, top, shape, dtype=numpy.uint8)

    def config(self, settings, name=None):
        name = name or self.chance.choice(["quantization_config", "quantization_config", "compression_config", "text_config"])
        value = {"quantization_config": settings} if name == "text_config" else settings
        self.files["config.json"] = {"model_type": "x", "rope": float("inf"), name: value}

    def prefixes(self, most=3):
        return self.chance.sample(PREFIXES, self.chance.randrange(1, most + 1))

    def size(self, multiple=1, most=300):
        return multiple * self.chance.randrange(1, max(2, most // multiple))


def e8m0(array):
    """2^(byte - 127); 255 is NaN."""
    codes = array.view(numpy.uint8).astype(int)
    return numpy.where(codes == 255, numpy.float64("nan"), 2.0 ** (codes - 127.0))


def wide(array):
    """A scale as a number, exactly."""
    return e8m0(array) if array.dtype in (numpy.uint8, DTYPES["F8_E8M0"]) else array.astype(numpy.float64)


def product(values, scales, zeros=0):
    """(values - zeros) * scales, rounded once. The factors have few enough bits for a double."""
    with numpy.errstate(all="ignore"):
        return ((values.astype(numpy.float64) - zeros) * scales).astype(numpy.float32)


def spread(grid, rows, columns, shape):
    """The element of a grid of blocks that belongs to each number."""
    return grid[numpy.arange(shape[0]) // rows][:, numpy.arange(shape[1]) // columns]


def stream(codes, bits, words):
    """Rows of codes as streams of bits, lowest bit first, padded to `words` 32-bit words."""
    every = ((codes[..., None] >> numpy.arange(bits)) & 1).reshape(codes.shape[0], -1).astype(numpy.uint8)
    room = numpy.zeros((codes.shape[0], words * 32), numpy.uint8)
    room[:, :every.shape[1]] = every
    return numpy.packbits(room, axis=1, bitorder="little").view(numpy.int32)


def whole(codes, bits):
    """Rows of codes, as many whole codes in each 32-bit word as fit."""
    per = 32 // bits
    words = -(-codes.shape[1] // per)
    room = numpy.zeros((codes.shape[0], words * per), numpy.int64)
    room[:, :codes.shape[1]] = codes
    packed = (room.reshape(codes.shape[0], words, per) << (bits * numpy.arange(per))).sum(-1)
    return packed.astype(numpy.uint32).view(numpy.int32)


def nibbles(packed, high_first=False):
    parts = (packed >> 4, packed & 15) if high_first else (packed & 15, packed >> 4)
    return numpy.stack(parts, -1).reshape(*packed.shape[:-1], -1)


# The formats


def fp8_blocks(m):
    block = m.chance.choice([(128, 128), (128, 128), (64, 32), (1, 128), (32, 1), (3, 7)])
    m.config({"quant_method": "fp8", "weight_block_size": list(block)} if block != (128, 128) or m.chance.random() < .7
             else {"quant_method": "fp8", "weight_block_size": None} if m.chance.random() < .5 else {"quant_method": "fp8"})
    for prefix in m.prefixes():
        rows, columns = m.size(), m.size()
        grid = [-(-rows // block[0]), -(-columns // block[1])]
        stack = [m.chance.randrange(1, 4)] if m.chance.random() < .3 else []
        # A single scale belongs to the whole tensor, whatever the block is.
        dtype = m.chance.choice(["F8_E4M3", "F8_E4M3", "F8_E5M2"])
        scale = m.chance.choice(["F32", "BF16", "F16", "F8_E8M0", "U8"])
        name = prefix + (".experts.gate_up_proj" if stack else ".weight")
        codes = m.bytes(stack + [rows, columns]).view(DTYPES[dtype])
        scales = m.scales(stack + grid, scale)
        m.put(name, dtype, codes)
        m.put(name + "_scale_inv", scale, scales)
        if m.chance.random() < .3:
            m.put(name + "_activation_scale" if stack else prefix + ".activation_scale", "F32", m.scales([1], "F32"))
        flat, grids = codes.reshape(-1, rows, columns), wide(scales).reshape(-1, *grid)
        values = [product(q, spread(s, *block, (rows, columns))) for q, s in zip(flat, grids)]
        m.expected[name] = numpy.stack(values).reshape(codes.shape)


def fp8_lines(m):
    """One scale, or one for each row or expert."""
    kind = m.chance.choice(["fp8", "fbgemm_fp8", "modelopt", "llama4"])
    if kind == "modelopt":
        settings = {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head*"]}
        if m.chance.random() < .5:
            m.files["hf_quant_config.json"] = {"producer": {"name": "modelopt"}, "quantization": settings}
        else:
            m.config({"quant_method": "modelopt", **settings}, "quantization_config")
    else:
        m.config({"quant_method": "fbgemm_fp8" if kind == "llama4" else kind})
    for prefix in m.prefixes():
        rows, columns = m.size() + 1, m.size() + 1
        stack = m.chance.randrange(2, 4)
        if kind == "llama4":
            name, shape, scale_shape = prefix + ".experts.down_proj", [stack, rows, columns], [stack, 1, columns]
        elif kind == "fbgemm_fp8":
            name, shape, scale_shape = prefix + ".weight", [rows, columns], [rows, 1]
        elif m.chance.random() < .3 and stack not in (rows, 1):
            name, shape, scale_shape = prefix + ".weight", [stack, rows, columns], [stack]
        else:
            name, shape = prefix + ".weight", [rows, columns]
            scale_shape = m.chance.choice([[], [1], [rows]])
        dtype = "F32" if kind != "fp8" else m.chance.choice(["F32", "BF16", "F16"])
        codes = m.bytes(shape).view(DTYPES["F8_E4M3"])
        scales = m.scales(scale_shape, dtype)
        m.put(name, "F8_E4M3", codes)
        m.put(name + "_scale", dtype, scales)
        if kind == "modelopt":
            m.put(prefix + ".input_scale", "F32", m.scales([], "F32"))
            m.put(prefix + ".k_scale", "F32", m.scales([], "F32"))
        per = scales if scales.size == 1 or scales.ndim > 1 else scales.reshape([-1] + [1] * (len(shape) - 1))
        m.expected[name] = product(codes, wide(per)).reshape(shape)


def modelopt_blocks(m):
    """FP8_PB_WO, whose scales have four dimensions, and MXFP8."""
    isMX = m.chance.random() < .5
    m.files["hf_quant_config.json"] = {"quantization": {"quant_algo": "MXFP8" if isMX else "FP8_PB_WO"}}
    for prefix in m.prefixes():
        rows, columns = m.size(), m.size(32)
        codes = m.bytes([rows, columns]).view(DTYPES["F8_E4M3"])
        block = (1, 32) if isMX else (128, 128)
        grid = [-(-rows // block[0]), -(-columns // block[1])]
        if grid == [1, 1]:
            continue
        scales = m.scales(grid, "U8" if isMX else "F32")
        m.put(prefix + ".weight", "F8_E4M3", codes)
        m.put(prefix + ".weight_scale", "U8" if isMX else "F32", scales if isMX else scales.reshape(grid[0], 1, grid[1], 1))
        m.expected[prefix + ".weight"] = product(codes, spread(wide(scales), *block, codes.shape))


def modelopt_nvfp4(m):
    settings = {"quant_algo": m.chance.choice(["NVFP4", "W4A16_NVFP4", "MIXED_PRECISION"]), "group_size": 16, "exclude_modules": []}
    if m.chance.random() < .6:
        m.files["hf_quant_config.json"] = {"quantization": settings}
    elif m.chance.random() < .6:
        m.config({"quant_method": "modelopt", **settings}, "quantization_config")
    for prefix in m.prefixes():
        packed, scales = m.bytes([m.size(), m.size(8, 100)]), None
        scales = m.bytes([packed.shape[0], packed.shape[1] // 8], 127).view(DTYPES["F8_E4M3"])
        second = m.scales([], "F32")
        m.put(prefix + ".weight", "U8", packed)
        m.put(prefix + ".weight_scale", "F8_E4M3", scales)
        m.put(prefix + ".weight_scale_2", "F32", second)
        if m.chance.random() < .5:
            m.put(prefix + ".input_scale", "F32", m.scales([], "F32"))
        fine = product(scales, numpy.float64(second))
        m.expected[prefix + ".weight"] = product(
            MODELOPT_E2M1[nibbles(packed)], numpy.repeat(fine, 16, axis=1).astype(numpy.float64))
    if settings["quant_algo"] == "MIXED_PRECISION" and m.files:
        codes = m.bytes([5, 9]).view(DTYPES["F8_E4M3"])
        scale = m.scales([], "F32")
        m.put("model.mixed.weight", "F8_E4M3", codes)
        m.put("model.mixed.weight_scale", "F32", scale)
        m.expected["model.mixed.weight"] = product(codes, wide(scale))


def compressed_nvfp4(m):
    isMX = m.chance.random() < .5
    if m.chance.random() < .7:
        m.config({"quant_method": "compressed-tensors", "format": ("mxfp4" if isMX else "nvfp4") + "-pack-quantized",
                  "config_groups": {"group_0": {"targets": ["Linear"], "weights": {
                      "num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 32 if isMX else 16,
                      "symmetric": True}}}, "ignore": ["lm_head"]})
    for prefix in m.prefixes():
        size = 32 if isMX else 16
        packed = m.bytes([m.size(), m.size(size // 2, 100)])
        m.put(prefix + ".weight_packed", "U8", packed)
        if isMX:
            dtype = m.chance.choice(["U8", "F8_E8M0"])
            scales = m.scales([packed.shape[0], packed.shape[1] // 16], dtype)
            fine = wide(scales)
        else:
            dtype = "F8_E4M3"
            scales = m.bytes([packed.shape[0], packed.shape[1] // 8], 127).view(DTYPES[dtype])
            divisor = m.scales(m.chance.choice([[], [1]]), "F32")
            m.put(prefix + ".weight_global_scale", "F32", divisor)
            m.put(prefix + ".input_global_scale", "F32", m.scales([1], "F32"))
            with numpy.errstate(all="ignore"):
                fine = (scales.astype(numpy.float32) / divisor.reshape(())).astype(numpy.float64)
        m.put(prefix + ".weight_scale", dtype, scales)
        m.expected[prefix + ".weight"] = product(E2M1[nibbles(packed)], numpy.repeat(fine, size, axis=1))


def strategy(m, rows, columns):
    """A strategy of compressed-tensors: its settings, the shape of its scales, and a function that expands them."""
    kind = m.chance.choice(["tensor", "channel", "group"])
    if kind == "tensor":
        return {"strategy": kind}, m.chance.choice([[1], []]), lambda s: s.reshape(1, 1)
    if kind == "channel":
        return {"strategy": kind}, [rows, 1], lambda s: s
    size = m.chance.choice([d for d in range(1, columns + 1) if columns % d == 0])
    return {"strategy": kind, "group_size": size}, [rows, columns // size], lambda s: numpy.repeat(s, size, axis=1)


def compressed_bytes(m):
    """float-, int- and naive-quantized. Modules have their own schemes, by name and by regular expression."""
    groups = {}
    for number, prefix in enumerate(m.prefixes()):
        rows, columns = m.size() + 1, m.size() + 1
        isFloat = m.chance.random() < .5
        isSymmetric = isFloat or m.chance.random() < .5
        settings, shape, spreading = strategy(m, rows, columns)
        if isFloat and m.chance.random() < .3:
            block = (m.chance.choice([16, 128]), m.chance.choice([16, 128]))
            settings = {"strategy": "block", "block_structure": m.chance.choice([list(block), "%dx%d" % block])}
            shape = [-(-rows // block[0]), -(-columns // block[1])]
            spreading = lambda s, block=block, size=(rows, columns): spread(s, *block, size)
        if settings["strategy"] in ("group", "block") and shape in ([1, 1],):
            continue
        dtype = m.chance.choice(["F32", "BF16", "F16"])
        scales = m.scales(shape, dtype)
        codes = m.bytes([rows, columns]).view(DTYPES["F8_E4M3" if isFloat else "I8"])
        m.put(prefix + ".weight", "F8_E4M3" if isFloat else "I8", codes)
        m.put(prefix + ".weight_scale", dtype, scales)
        zeros = numpy.zeros(shape, numpy.int8)
        if not isSymmetric:
            zeros = m.bytes(shape).view(numpy.int8)
        if not isSymmetric or m.chance.random() < .2:
            m.put(prefix + ".weight_zero_point", "I8", zeros)
        spreadScales, spreadZeros = spreading(wide(scales)), spreading(zeros.astype(numpy.float64))
        if settings["strategy"] == "group" and m.chance.random() < .4:
            index = m.random.permutation(numpy.arange(columns) // settings["group_size"]).astype(numpy.int32)
            settings["actorder"] = "group"
            m.put(prefix + ".weight_g_idx", "I32", index)
            spreadScales, spreadZeros = wide(scales)[:, index], zeros[:, index].astype(numpy.float64)
        target = m.chance.choice([prefix, "re:.*" + prefix.split(".")[-1] + "$", "re:" + prefix.replace(".", "\\.")])
        groups["group_%d" % number] = {"targets": [target], "weights": {
            "num_bits": 8, "type": "float" if isFloat else "int", "symmetric": isSymmetric, **settings}}
        m.expected[prefix + ".weight"] = product(codes, spreadScales, spreadZeros)
    groups["group_9"] = {"targets": ["Linear"], "weights": {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "tensor"}}
    m.config({"quant_method": "compressed-tensors", "format": "mixed-precision", "config_groups": groups,
              "ignore": ["re:.*norm.*", "model.embed_tokens"]})


def packed_integers(m):
    bits = m.chance.choice([1, 2, 3, 4, 5, 6, 7, 8])
    isDense = m.chance.random() < .5
    isSymmetric = m.chance.random() < .5
    rows, columns = m.size(), m.size()
    settings, shape, spreading = strategy(m, rows, columns)
    m.config({"quant_method": "compressed-tensors", "format": "pack-quantized", "version": "0.20.1" if isDense else "0.12.2",
              "quantization_status": "compressed", "config_groups": {"group_0": {"targets": ["Linear"], "weights": {
                  "num_bits": bits, "type": "int", "symmetric": isSymmetric, **settings}}}})
    for prefix in m.prefixes(1):
        dtype = m.chance.choice(["F32", "BF16", "F16"])
        codes = m.random.integers(0, 2**bits, (rows, columns))
        scales = m.scales(shape, dtype)
        pack = (lambda c: stream(c, bits, -(-c.shape[1] * bits // 32))) if isDense else (lambda c: whole(c, bits))
        m.put(prefix + ".weight_packed", "I32", pack(codes))
        m.put(prefix + ".weight_scale", dtype, scales)
        kind = m.chance.choice(["I64", "I32"])
        m.put(prefix + ".weight_shape", kind, numpy.array([rows, columns], DTYPES[kind]))
        half = 2 ** (bits - 1)
        zeros = numpy.zeros(shape, int)
        if not isSymmetric:
            zeros = m.random.integers(0, 2**bits, shape) - half
            if settings["strategy"] == "tensor":
                m.put(prefix + ".weight_zero_point", "I8", zeros.astype(numpy.int8))
            else:
                m.put(prefix + ".weight_zero_point", "I32", pack((zeros + half).T).T)
        spreadScales, spreadZeros = spreading(wide(scales)), spreading(zeros)
        if settings["strategy"] == "group" and m.chance.random() < .4:
            size = settings["group_size"]
            index = m.random.permutation(numpy.arange(columns) // size).astype(numpy.int32)
            if m.chance.random() < .2:
                index[:] = -1
            else:
                spreadScales, spreadZeros = wide(scales)[:, index], zeros[:, index]
            m.put(prefix + ".weight_g_idx", "I32", index)
        m.expected[prefix + ".weight"] = product(codes - half, spreadScales, spreadZeros)


def gpt_oss(m):
    isFace = m.chance.random() < .6
    if m.chance.random() < .7:
        m.config({"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"]})
    for layer in range(m.chance.randrange(1, 3)):
        experts, rows, groups = m.chance.randrange(1, 4), m.size(1, 90), m.chance.randrange(1, 4)
        stack = [experts] if isFace or m.chance.random() < .5 else []
        blocks = m.bytes(stack + [rows, groups, 16])
        scales = m.scales(stack + [rows, groups], "U8")
        name = f"model.layers.{layer}.mlp.experts.{m.chance.choice(['gate_up_proj', 'down_proj'])}" if isFace else f"block.{layer}.mlp.mlp1_weight"
        m.put(name + ("_blocks" if isFace else ".blocks"), "U8", blocks)
        m.put(name + ("_scales" if isFace else ".scales"), "U8", scales)
        m.ordinary(name + "_bias", "BF16", stack + [rows])
        values = product(E2M1[nibbles(blocks)], wide(scales)[..., None]).reshape(stack + [rows, groups * 32])
        m.expected[name] = numpy.swapaxes(values, 1, 2) if isFace else values


def gptq(m):
    bits = m.chance.choice([2, 3, 4, 4, 8])
    isV2 = m.chance.random() < .4
    settings = {"quant_method": "gptq", "bits": bits, "group_size": -1, "sym": m.chance.random() < .3, "desc_act": True,
                "static_groups": False, "damp_percent": .1}
    if isV2 or m.chance.random() < .5:
        settings["checkpoint_format"] = "gptq_v2" if isV2 else "gptq"
    inputs = m.size(32, 400)
    sizes = [d for d in (-1, 16, 32, 48, 64, 128, 100) if d == -1 or d <= inputs]
    size = settings["group_size"] = m.chance.choice(sizes)
    hasIndex = m.chance.random() < .6
    for prefix in m.prefixes():
        outputs = m.size(32, 200)
        groups = 1 if size == -1 else -(-inputs // size)
        usual = numpy.arange(inputs) // (inputs if size == -1 else size)
        index = usual if not hasIndex or m.chance.random() < .4 else m.random.permutation(usual)
        if groups > 1 and not index.any():
            index = usual
        dtype = m.chance.choice(["F16", "BF16"])
        codes = m.random.integers(0, 2**bits, (inputs, outputs))
        half = 2 ** (bits - 1)
        zeros = numpy.full((groups, outputs), half) if settings["sym"] else m.random.integers(0, 2**bits, (groups, outputs))
        scales = m.scales([groups, outputs], dtype)
        m.put(prefix + ".qweight", "I32", stream(codes.T, bits, inputs * bits // 32).T)
        m.put(prefix + ".qzeros", "I32", stream((zeros - (0 if isV2 else 1)) % 2**bits, bits, outputs * bits // 32))
        m.put(prefix + ".scales", dtype, scales)
        if hasIndex:
            m.put(prefix + ".g_idx", "I32", index.astype(numpy.int32))
        m.expected[prefix + ".weight"] = product(codes, wide(scales)[index], zeros[index]).T
    if m.chance.random() < .5:
        m.config(settings)
    else:
        if m.chance.random() < .5:
            del settings["quant_method"]
        m.files["quantize_config.json"] = settings


def awq(m):
    isVector = m.chance.random() < .4
    size = m.chance.choice([16, 32, 64, 128, -1])
    settings = {"quant_method": "awq", "bits": 4, "group_size": size, "zero_point": True, "version": "gemv" if isVector else "gemm"}
    for prefix in m.prefixes():
        inputs = m.size(size, 400) if size > 0 and 400 >= size else 8 * m.chance.randrange(1, 20)
        outputs = m.size(8, 200)
        groups = 1 if size == -1 else inputs // size
        codes = m.random.integers(0, 16, (inputs, outputs))
        zeros = m.random.integers(0, 16, (groups, outputs))
        scales = m.scales([groups, outputs], "F16")
        index = numpy.arange(inputs) // (inputs // groups)
        if isVector:
            words = -(-groups // 8) + m.chance.randrange(2)
            room = numpy.zeros((outputs, words * 8), int)
            room[:, :groups] = zeros.T
            padded = numpy.zeros((outputs, words * 8), numpy.float16)
            padded[:, :groups] = scales.T
            m.put(prefix + ".qweight", "I32", stream(codes.T, 4, inputs // 8))
            m.put(prefix + ".qzeros", "I32", stream(room, 4, words))
            m.put(prefix + ".scales", "F16", padded)
        else:
            def shuffled(c):
                # Nibble i of a word holds the column that AWQ's order gives.
                result = numpy.empty_like(c.reshape(c.shape[0], -1, 8))
                for column, nibble in enumerate(AWQ_ORDER):
                    result[:, :, nibble] = c.reshape(c.shape[0], -1, 8)[:, :, column]
                return stream(result.reshape(c.shape), 4, c.shape[1] // 8)
            m.put(prefix + ".qweight", "I32", shuffled(codes))
            m.put(prefix + ".qzeros", "I32", shuffled(zeros))
            m.put(prefix + ".scales", "F16", scales)
        m.expected[prefix + ".weight"] = product(codes, wide(scales)[index], zeros[index]).T
    if isVector or m.chance.random() < .6:
        m.config(settings)
    elif m.chance.random() < .5:
        m.files["quant_config.json"] = {"zero_point": True, "q_group_size": size, "w_bit": 4, "version": "GEMM"}


def bits_and_bytes(m):
    type = m.chance.choice(["nf4", "fp4"])
    table = NF4 if type == "nf4" else FP4
    if m.chance.random() < .7:
        m.config({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": type, "_load_in_8bit": False})
    for prefix in m.prefixes():
        shape = [m.size(1, 60) for _ in range(m.chance.randrange(1, 4))]
        count = int(numpy.prod(shape))
        size = m.chance.choice([32, 64, 128, 256, 4096])
        blocks = -(-count // size)
        state = {"quant_type": type, "blocksize": size, "dtype": "bfloat16", "shape": shape}
        storage = m.chance.choice(["U8", "U8", "BF16", "F32"])
        width = numpy.dtype(DTYPES[storage]).itemsize
        packed = m.bytes([-(-(-(-count // 2)) // width) * width])
        name = prefix + ".weight"
        m.put(name, storage, packed.view(DTYPES[storage]).reshape(-1, 1))
        if m.chance.random() < .5:
            nested = m.chance.choice([256, 64, 100])
            offset = float(m.floats([]))
            state |= {"nested_blocksize": nested, "nested_dtype": "float32", "nested_offset": offset}
            codes, map = m.bytes([blocks]), m.floats([256])
            outer = m.scales([-(-blocks // nested)], "F32")
            m.put(name + ".absmax", "U8", codes)
            m.put(name + ".nested_absmax", "F32", outer)
            m.put(name + ".nested_quant_map", "F32", map)
            absmax = map[codes] * outer[numpy.arange(blocks) // nested] + numpy.float32(offset)
        else:
            absmax = m.scales([blocks], "F32")
            m.put(name + ".absmax", "F32", absmax)
        m.put(name + ".quant_map", "F32", table)
        m.put(f"{name}.quant_state.bitsandbytes__{type}", "U8", numpy.frombuffer(json.dumps(state).encode(), numpy.uint8))
        values = table[nibbles(packed, high_first=True)[:count]]
        m.expected[name] = product(values, absmax[numpy.arange(count) // size].astype(numpy.float64)).reshape(shape)


def bits_and_bytes_int8(m):
    if m.chance.random() < .7:
        m.config({"quant_method": "bitsandbytes", "load_in_8bit": True})
    for prefix in m.prefixes():
        codes = m.bytes([m.size(), m.size()]).view(numpy.int8)
        scales = m.scales([codes.shape[0]], "F32")
        m.put(prefix + ".weight", "I8", codes)
        m.put(prefix + ".SCB", "F32", scales)
        if m.chance.random() < .5:
            m.put(prefix + ".weight_format", "U8", numpy.zeros([], numpy.uint8))
        m.expected[prefix + ".weight"] = (codes.astype(numpy.float32) * scales[:, None]) * numpy.float32(0.007874015718698502)


def deepseek_v4(m):
    m.config({"quant_method": "fp8", "weight_block_size": [128, 128], "scale_fmt": "ue8m0"}, "quantization_config")
    m.files["config.json"]["expert_dtype"] = "fp4"
    for number in range(m.chance.randrange(1, 4)):
        name = f"layers.0.ffn.experts.{number}.w1"
        packed = m.bytes([m.size(), m.size(16, 100)])
        scales = m.scales([packed.shape[0], packed.shape[1] // 16], "F8_E8M0")
        m.put(name + ".weight", "I8", packed.view(numpy.int8))
        m.put(name + ".scale", "F8_E8M0", scales)
        m.expected[name + ".weight"] = product(E2M1[nibbles(packed)], numpy.repeat(wide(scales), 32, axis=1))
    codes = m.bytes([m.size(), m.size()]).view(DTYPES["F8_E4M3"])
    scales = m.scales([-(-codes.shape[0] // 128), -(-codes.shape[1] // 128)], "F8_E8M0")
    m.put("layers.0.attn.wq_a.weight", "F8_E4M3", codes)
    m.put("layers.0.attn.wq_a.scale", "F8_E8M0", scales)
    m.expected["layers.0.attn.wq_a.weight"] = product(codes, spread(wide(scales), 128, 128, codes.shape))
    m.ordinary("layers.0.hc_attn.scale", "F32", [3])


FORMATS = [
    fp8_blocks, fp8_lines, modelopt_blocks, modelopt_nvfp4, compressed_nvfp4, compressed_bytes, packed_integers, gpt_oss, gptq,
    awq, bits_and_bytes, bits_and_bytes_int8, deepseek_v4,
]


def harm(m):
    """Changes one thing of a model, and returns what it was; None if there is nothing to change."""
    parts = [name for name in m.tensors if name not in m.expected]
    scales = [name for name in parts if m.tensors[name][0] in ("F32", "F16", "BF16") and "input" not in name
              and "activation" not in name and "k_scale" not in name and "map" not in name]
    kind = m.chance.choice(["drop", "dtype", "shape", "add", "nan", "config"])
    if kind == "drop":
        # Without a group index, columns are in order, so nobody can detect that the index is missing.
        names = [name for name in parts if "g_idx" not in name]
        if not names:
            return None
        name = m.chance.choice(names)
        del m.tensors[name]
        return f"{name} dropped"
    if kind == "dtype" and parts:
        name = m.chance.choice(parts)
        dtype, shape, data = m.tensors[name]
        others = {"F32": "I32", "I32": "F32", "F16": "I16", "BF16": "I16", "U8": "I8", "I8": "U8", "I64": "F64",
                  "F8_E8M0": "I8", "F8_E4M3": "I8"}
        m.tensors[name] = (others[dtype], shape, data)
        return f"{name} is {others[dtype]}"
    if kind == "shape" and parts:
        name = m.chance.choice(parts)
        dtype, shape, data = m.tensors[name]
        wrong = [list(reversed(shape)), shape + [1, 1], [1] + shape]
        wrong = [other for other in wrong if other != shape]
        m.tensors[name] = (dtype, m.chance.choice(wrong), data)
        return f"{name} is {m.tensors[name][1]}"
    if kind == "add" and parts:
        prefix = m.chance.choice(parts).rsplit(".", 1)[0]
        name = prefix + "." + m.chance.choice(["weight_scale_2", "weight_global_scale", "weight_scale_inv", "weight_scale"])
        if name in m.tensors:
            return None
        m.put(name, "F32", m.scales([1], "F32"))
        return f"{name} added"
    if kind == "nan" and scales:
        name = m.chance.choice(scales)
        dtype, shape, data = m.tensors[name]
        nan = {"F32": b"\0\0\xc0\x7f", "F16": b"\0\x7e", "BF16": b"\xc0\x7f"}[dtype]
        m.tensors[name] = (dtype, shape, nan + data[len(nan):])
        return f"{name} is NaN"
    if kind == "config":
        m.files = {}
        method = m.chance.choice(["fp8", "modelopt", "compressed-tensors", "mxfp4", "awq", "bitsandbytes", "torchao"])
        m.config({"quant_method": method, "load_in_4bit": method == "bitsandbytes"}, "quantization_config")
        return f"the method is {method}"
    return None


def compare_harmed(model, found):
    """Describes output that is neither the correct numbers nor the stored bytes, or None.

    Parts may be hidden only if the numbers are correct."""
    right = set()
    for name, (dtype, shape, data) in found.items():
        if model.tensors.get(name) == (dtype, shape, data):
            continue
        expected = model.expected.get(name)
        if expected is None or dtype != "F32" or shape != list(expected.shape):
            return f"{name} is {dtype} {shape}, which nobody stored"
        if not numpy.array_equal(numpy.frombuffer(data, numpy.float32).reshape(shape), expected, equal_nan=True):
            return f"{name} has wrong numbers"
        right.add(name)
    for name in set(model.tensors) - set(found):
        if not any(name.startswith(shown.removesuffix("weight")) for shown in right) and "k_scale" not in name:
            return f"{name} is hidden, and its weight is not shown"
    return None


def write(path, tensors):
    header, data, at = {}, [], 0
    for name, (dtype, shape, bytes) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(bytes)]}
        data.append(bytes)
        at += len(bytes)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + b"".join(data))


def read(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.read()
    header.pop("__metadata__", None)
    return {name: (entry["dtype"], entry["shape"], data[slice(*entry["data_offsets"])]) for name, entry in header.items()}


def save(model, directory):
    """Writes the model into one file, or into shards with an index. Returns the path to name."""
    for name, value in model.files.items():
        with open(os.path.join(directory, name), "w") as file:
            json.dump(value, file)
    count = model.chance.choice([1, 1, 2, 3])
    if count == 1:
        write(os.path.join(directory, "model.safetensors"), model.tensors)
        return
    shards = [{} for _ in range(count)]
    for name, tensor in model.tensors.items():
        model.chance.choice(shards)[name] = tensor
    # A file that the index does not name causes a warning.
    shards = [shard for shard in shards if shard]
    count = len(shards)
    names = [f"model-{number + 1:05}-of-{count:05}.safetensors" for number in range(count)]
    for name, shard in zip(names, shards):
        write(os.path.join(directory, name), shard)
    weights = {tensor: name for name, shard in zip(names, shards) for tensor in shard}
    with open(os.path.join(directory, "model.safetensors.index.json"), "w") as file:
        json.dump({"metadata": {}, "weight_map": weights}, file)


def compare(model, found):
    """Describes a difference, or None."""
    if set(found) != set(model.expected):
        return f"names: {sorted(set(found) ^ set(model.expected))}"
    for name, expected in model.expected.items():
        dtype, shape, data = found[name]
        if expected is None:
            if (dtype, shape, data) != model.tensors[name]:
                return f"{name} is not as it is stored"
            continue
        if dtype != "F32" or shape != list(expected.shape):
            return f"{name} is {dtype} {shape}, and not {expected.shape}"
        values = numpy.frombuffer(data, numpy.float32).reshape(shape)
        expected = numpy.ascontiguousarray(expected, numpy.float32)
        wrong = (values.view(numpy.uint32) != expected.view(numpy.uint32)) & ~(numpy.isnan(values) & numpy.isnan(expected))
        if wrong.any():
            at = tuple(int(i[0]) for i in numpy.nonzero(wrong))
            return f"{name}{list(at)} is {values[at]!r}, and not {expected[at]!r}; {int(wrong.sum())} of {wrong.size} differ"
    return None


def harmed(stpack, format, model):
    """Describes an error in stpack's output for a damaged model, or None."""
    what = harm(model)
    if not what or what.startswith("the method") and format in (compressed_bytes, packed_integers):
        return None
    with tempfile.TemporaryDirectory() as directory:
        save(model, directory)
        out = os.path.join(directory, "out.safetensors")
        outcome = subprocess.run([stpack, "--dequant", directory, "-o", out], capture_output=True, text=True)
        if outcome.returncode == 65 and "leave out --dequant" in outcome.stderr:
            return None
        problem = outcome.stderr if outcome.returncode else compare_harmed(model, read(out))
    return f"{what}: {problem}" if problem else None


def main():
    stpack, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    same = {format.__name__: 0 for format in FORMATS}
    tensors, failures = 0, 0
    for number in range(count):
        chance = random.Random(f"{seed} {number}")
        format = FORMATS[number % len(FORMATS)]
        model = Model(chance)
        with numpy.errstate(all="ignore"):
            format(model)
        if all(value is None for value in model.expected.values()):
            continue
        with tempfile.TemporaryDirectory() as directory:
            save(model, directory)
            out = os.path.join(directory, "out.safetensors")
            outcome = subprocess.run([stpack, "--dequant", directory, "-o", out], capture_output=True, text=True)
            # A GPTQ label that contradicts its zero points is only found if the random zero points reveal it.
            problem = outcome.stderr if outcome.returncode or outcome.stderr else compare(model, read(out))
        problem = problem or harmed(stpack, format, model)
        if problem:
            failures += 1
            print(f"{format.__name__} {seed} {number}: {problem}", file=sys.stderr)
        else:
            same[format.__name__] += 1
            tensors += sum(value is not None for value in model.expected.values())
    print(", ".join(f"{name} {count}" for name, count in same.items()))
    print(f"{tensors} quantised tensors the same, {failures} models different")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
