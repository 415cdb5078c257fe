"""Models to measure with, and the same bytes as plain files, as a squashfs image and as a tar archive."""

import json
import os
import subprocess


class Model:
    """A safetensors file, and what is known of it: names, and (offset, length) of each tensor in the file."""

    def __init__(self, directory, key, sizes, names=None):
        self.key = key
        self.path = os.path.join(directory, key + ".safetensors")
        self.plain = os.path.join(directory, key + ".plain")
        self.squashfs = os.path.join(directory, key + ".sqfs")
        self.tar = os.path.join(directory, key + ".tar")
        self.names = names or [f"layers.{i}.weight" for i in range(len(sizes))]
        self.sizes = sizes
        header, self.offsets, at = {}, [], 0
        for name, size in zip(self.names, sizes):
            header[name] = {"dtype": "U8", "shape": [size], "data_offsets": [at, at + size]}
            self.offsets.append(at)
            at += size
        text = json.dumps(header, separators=(",", ":")).encode()
        if len(text) % 2 == 0:  # 8 + an odd header: the data starts at an odd offset
            text += b" "
        self.header = len(text).to_bytes(8, "little") + text
        self.offsets = [len(self.header) + offset for offset in self.offsets]
        self.bytes = at

    def write(self):
        """Writes the model with random bytes (nothing below may find duplicates or zeros to skip)."""
        with open(self.path, "wb") as file:
            file.write(self.header)
            left = self.bytes
            while left:
                file.write(os.urandom(min(left, 1 << 24)))
                left -= min(left, 1 << 24)
            file.flush()
            os.fsync(file.fileno())

    def write_sparse(self):
        """Writes the header alone; the data is a hole."""
        with open(self.path, "wb") as file:
            file.write(self.header)
            file.truncate(len(self.header) + self.bytes)
            os.fsync(file.fileno())

    def extract(self):
        """Writes each tensor's bytes as a file of its own: what a user without stmount would have."""
        os.mkdir(self.plain)
        with open(self.path, "rb") as file:
            for name, offset, size in zip(self.names, self.offsets, self.sizes):
                file.seek(offset)
                with open(os.path.join(self.plain, name), "wb") as tensor:
                    while size:
                        size -= tensor.write(file.read(min(size, 1 << 24)))
        os.sync()

    def pack(self):
        """Writes the image and the archive that the peers mount; neither is compressed."""
        quiet = {"stdout": subprocess.DEVNULL, "check": True}
        uncompressed = ["-noI", "-noD", "-noF", "-noX", "-no-progress"]
        subprocess.run(["mksquashfs", self.plain, self.squashfs, *uncompressed], **quiet)
        subprocess.run(["tar", "-C", self.plain, "-cf", self.tar, "."], **quiet)
        os.sync()

    @property
    def largest(self):
        """The index of the largest tensor: the one for tools that read one file."""
        return self.sizes.index(max(self.sizes))


def data_model(directory, size):
    """64 tensors of odd sizes: one of half of the bytes, as an embedding is, and 63 that share the rest."""
    small = (size // 2 // 63) | 1
    return Model(directory, "data", [(size // 2) | 1] + [small] * 63)


def small_model(directory, count):
    """Many tensors of 97 bytes."""
    return Model(directory, "small", [97] * count)


def header_model(directory, count, header_bytes):
    """So many tensors of 2 bytes that the header alone, with long names, is about `header_bytes`."""
    pad = max(0, header_bytes // count - len('"":{"dtype":"U8","shape":[2],"data_offsets":[000000,000000]},') - 8)
    return Model(directory, "header", [2] * count, [f"{i:07}." + "x" * (pad - 1) + "w" for i in range(count)])
