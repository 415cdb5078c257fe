"""s3server.py PORT DIRECTORY: an S3 server (moto) whose only bucket, `bucket`, has the files of a directory."""

import os
import signal
import sys

import boto3
from moto.s3.models import FakeKey
from moto.server import ThreadedMotoServer

port, directory = int(sys.argv[1]), sys.argv[2]
# In front of the server, which answers from the moment it listens.
os.environ["MOTO_S3_DEFAULT_KEY_BUFFER_SIZE"] = str(1 << 30)


class Part:
    """A part of an object, copied while it is sent."""

    def __init__(self, value, place):
        self.bytes = memoryview(value)[place]

    def __len__(self):
        return len(self.bytes)

    def __iter__(self):
        return (bytes(self.bytes[start:start + (256 << 10)]) for start in range(0, len(self), 256 << 10))


class Value(bytes):
    """An object. For each request moto takes a slice of it, up to its end if the client does not say how much it reads."""

    def __getitem__(self, place):
        return Part(self, place)


# For each request moto also copies the whole object. Here it is copied once.
copied = FakeKey.value.fget


def value(key):
    if "kept" not in vars(key):
        key.kept = Value(copied(key))
    return key.kept


FakeKey.value = FakeKey.value.getter(value)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
server.start()
client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1",
                      aws_access_key_id="a", aws_secret_access_key="b")
client.create_bucket(Bucket="bucket")
for folder, _, names in os.walk(directory):
    for name in names:
        path = os.path.join(folder, name)
        client.upload_file(path, "bucket", os.path.relpath(path, directory))
client.create_bucket(Bucket="ready")
signal.pause()
