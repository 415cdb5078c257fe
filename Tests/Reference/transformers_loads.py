#!/usr/bin/env python3
"""Makes transformers load a tiny quantised model from a mount's .dequant, as docs/VIEWS.md promises.

usage: transformers_loads.py STMOUNT

A Llama of two layers is quantised as DeepSeek does it, to FP8 with a scale for each block of 128x128, once with the embeddings tied
and once not. transformers is given a directory of a configuration without a quantisation and a link to
.dequant/.model.safetensors. Its weights must be the products in float32, and its logits those of a model with these weights.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

import safetensors.torch
import torch
import transformers

BLOCK = 128


def quantized(weight):
    """FP8 codes, a scale for each block, and the dequantised numbers."""
    rows, columns = weight.shape
    grid = (-(-rows // BLOCK), -(-columns // BLOCK))
    scales = torch.empty(grid)
    codes = torch.empty(weight.shape, dtype=torch.float8_e4m3fn)
    numbers = torch.empty(weight.shape)
    for row in range(grid[0]):
        for column in range(grid[1]):
            part = slice(row * BLOCK, (row + 1) * BLOCK), slice(column * BLOCK, (column + 1) * BLOCK)
            scales[row, column] = weight[part].abs().max() / 448
            codes[part] = (weight[part] / scales[row, column]).to(torch.float8_e4m3fn)
            numbers[part] = codes[part].float() * scales[row, column]
    return codes, scales, numbers


def check(stmount, directory, tied):
    torch.manual_seed(7)
    config = transformers.LlamaConfig(
        vocab_size=300, hidden_size=192, intermediate_size=320, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=tied)
    model = transformers.LlamaForCausalLM(config).eval()
    stored, numbers = {}, {}
    for name, value in model.state_dict().items():
        if name == "lm_head.weight" and tied:
            continue
        if value.dim() == 2 and "embed" not in name and "lm_head" not in name:
            stored[name], stored[name + "_scale_inv"], numbers[name] = quantized(value)
        else:
            stored[name] = numbers[name] = value.clone()
    source, mount, plain = (os.path.join(directory, name) for name in ("source", "mount", "plain"))
    for path in (source, mount, plain):
        os.mkdir(path)
    safetensors.torch.save_file(stored, os.path.join(source, "model.safetensors"), metadata={"format": "pt"})
    config.save_pretrained(plain)
    with open(os.path.join(plain, "config.json")) as file:
        settings = json.load(file)
    settings["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [BLOCK, BLOCK]}
    with open(os.path.join(source, "config.json"), "w") as file:
        json.dump(settings, file)
    subprocess.run([stmount, source, mount], check=True)
    try:
        os.symlink(os.path.join(mount, ".dequant/.model.safetensors"), os.path.join(plain, "model.safetensors"))
        loaded = transformers.LlamaForCausalLM.from_pretrained(plain, dtype=torch.float32).eval()
        found = loaded.state_dict()
        for name, value in numbers.items():
            if not torch.equal(found[name], value):
                sys.exit(f"{name} is not what it stands for")
        model.load_state_dict(numbers, strict=not tied)
        words = torch.arange(16)[None]
        with torch.no_grad():
            if not torch.equal(loaded(words).logits, model(words).logits):
                sys.exit("the logits differ")
        del loaded, found
    finally:
        # The loader's mapping may exist a little longer.
        for _ in range(50):
            command = ["umount"] if os.geteuid() == 0 else ["fusermount3", "-u"]
            if subprocess.run([*command, mount], stderr=subprocess.DEVNULL).returncode == 0:
                break
            time.sleep(.1)
    return len(numbers)


def main():
    for tied in (False, True):
        with tempfile.TemporaryDirectory() as directory:
            count = check(sys.argv[1], directory, tied)
        print(f"transformers {transformers.__version__}: {count} tensors the same, {'tied' if tied else 'untied'} embeddings")


if __name__ == "__main__":
    main()
