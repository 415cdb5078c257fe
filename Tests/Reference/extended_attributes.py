#!/usr/bin/env python3
"""Calls getxattr(2) and listxattr(2) on a tensor's file, with buffers of all sizes that could matter.

usage: extended_attributes.py FILE NAME=VALUE...: the attributes that the file has.
"""

import ctypes
import errno
import sys

libc = ctypes.CDLL(None, use_errno=True)


def call(function, *arguments):
    """The result, or the error's name."""
    result = function(*arguments)
    return errno.errorcode[ctypes.get_errno()] if result < 0 else result


def expect(what, found, wanted):
    if found != wanted:
        sys.exit(f"{what}: {found!r} in place of {wanted!r}")


def main(path, *attributes):
    path = path.encode()
    names = b""
    for attribute in attributes:
        name, value = attribute.encode().split(b"=", 1)
        names += name + b"\0"
        expect(f"size of {name}", call(libc.getxattr, path, name, None, 0), len(value))
        for room in (len(value), len(value) + 1, 65536):
            buffer = ctypes.create_string_buffer(room)
            expect(f"{name} in {room}", call(libc.getxattr, path, name, buffer, room), len(value))
            expect(f"value of {name}", buffer.raw[:len(value)], value)
        buffer = ctypes.create_string_buffer(len(value))
        expect(f"{name} in too little", call(libc.getxattr, path, name, buffer, len(value) - 1), "ERANGE")
        expect(f"setting {name}", call(libc.setxattr, path, name, b"x", 1, 0), "EROFS")
        expect(f"removing {name}", call(libc.removexattr, path, name), "EROFS")
    expect("size of the list", call(libc.listxattr, path, None, 0), len(names))
    buffer = ctypes.create_string_buffer(max(1, len(names)))
    if names:
        expect("list in too little", call(libc.listxattr, path, buffer, len(names) - 1), "ERANGE")
    expect("list", call(libc.listxattr, path, buffer, len(names) or 1), len(names))
    expect("names", buffer.raw[:len(names)], names)
    for room in (0, 100):
        expect("another", call(libc.getxattr, path, b"user.safetensors.nix", buffer, room), "ENODATA")
        expect("another namespace", call(libc.getxattr, path, b"security.nix", buffer, room), "ENOTSUP")
    expect("access list", call(libc.getxattr, path, b"system.posix_acl_access", None, 0), "ENOTSUP")
    expect("setting a new one", call(libc.setxattr, path, b"user.new", b"x", 1, 0), "EROFS")


if __name__ == "__main__":
    main(*sys.argv[1:])
