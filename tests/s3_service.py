"""An S3 service on loopback: moto's, in a process of its own, with a bucket."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

KEY = {"AWS_ACCESS_KEY_ID": "pets", "AWS_SECRET_ACCESS_KEY": "sesame-4711"}
BUCKET = "pets-bucket"

_SERVE = """
import logging, sys, time
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@dataclass
class S3:
    """A service that runs.

    Attributes:
      url: of it.
      environment: the variables with which Amazon's client finds it.
    """

    url: str

    @property
    def environment(self) -> dict[str, str]:
        return KEY | {"AWS_ENDPOINT_URL_S3": self.url, "AWS_DEFAULT_REGION": "us-east-1"}

    def client(self):
        import boto3

        keys = {name.lower(): value for name, value in KEY.items()}
        return boto3.client("s3", endpoint_url=self.url, region_name="us-east-1", **keys)

    def keys(self, prefix: str) -> list[str]:
        """All keys that begin so."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def read(self, key: str) -> bytes:
        return self.client().get_object(Bucket=BUCKET, Key=key)["Body"].read()


@contextlib.contextmanager
def s3_service() -> Iterator[S3]:
    """Starts a service with an empty bucket, and stops it at the end; it ends with this process too."""
    process = subprocess.Popen([sys.executable, "-c", _SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        service = S3(f"http://127.0.0.1:{int(process.stdout.readline())}")
        service.client().create_bucket(Bucket=BUCKET)
        yield service
    finally:
        process.stdin.close()
        process.wait(timeout=30)
