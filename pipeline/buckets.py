"""Amazon S3 and Google Cloud Storage, by their own clients: what a root in a bucket needs of either.

    bucket, prefix = open_bucket("s3://pets/segpipe")
    bucket.upload("model.pb", prefix + "model.pb")

Credentials, region and another address of the service come from the environment, as the clients take them by
themselves: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL_S3 and the like for S3;
the account of the machine, or GOOGLE_APPLICATION_CREDENTIALS, for Cloud Storage.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from components.errors import SegpipeError, UsageError

ADDRESS = re.compile(r"(s3|gs)://([a-z0-9][a-z0-9._-]{1,61}[a-z0-9])((?:/[\w.=-]+)*)/?")
_ATTEMPTS = 5


def is_address(root: str) -> bool:
    """Whether a root is named by an address instead of a folder."""
    return "://" in root


@dataclass(frozen=True)
class Object:
    """An object of a bucket: its size in bytes, and when it was written, in seconds since 1970."""

    key: str
    size: int
    modified: float


class Bucket(Protocol):
    """A bucket of either kind. What the service refuses is a SegpipeError that names it and the mend."""

    address: str

    def list(self, prefix: str) -> Iterator[Object]:
        """All objects whose keys begin so."""

    def download(self, key: str, path: str) -> None:
        """Copies an object to a file."""

    def upload(self, path: str, key: str) -> None:
        """Copies a file to an object, which is there whole or not at all."""

    def delete(self, key: str) -> None:
        """Removes an object, if it is there."""

    def read(self, key: str) -> tuple[bytes, str] | None:
        """Content and version of an object; None if there is none."""

    def write_over(self, key: str, content: bytes, version: str | None) -> str | None:
        """Writes an object if it has that version still (None: if there is none).

        Returns:
          Its new version; None if another process was first.
        """


def open_bucket(address: str) -> tuple[Bucket, str]:
    """The bucket of an address, and the prefix of the keys below it, which is empty or ends with a slash.

    Raises:
      UsageError: if the address is none of these, or the client for it is not installed.
    """
    match = ADDRESS.fullmatch(address)
    if match is None:
        raise UsageError(f"{address}: is neither s3://BUCKET/FOLDER nor gs://BUCKET/FOLDER; mend the address")
    kind, name, folder = match.groups()
    return {"s3": S3Bucket, "gs": CloudStorageBucket}[kind](name), folder.lstrip("/") + ("/" if folder else "")


class S3Bucket:
    """A bucket of Amazon S3, or of what speaks its protocol; one client serves several threads."""

    def __init__(self, name: str):
        self.address, self._name = f"s3://{name}", name
        try:
            import boto3
            from botocore import config
        except ImportError as error:
            raise UsageError(
                f"{self.address}: needs the package boto3, which is not installed; install segpipe[s3]"
            ) from error
        retries = {"mode": "standard", "max_attempts": _ATTEMPTS}
        try:
            self._client = boto3.client("s3", config=config.Config(retries=retries))
        except Exception as error:
            raise self._told(error) from error

    def list(self, prefix: str) -> Iterator[Object]:
        try:
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._name, Prefix=prefix):
                for found in page.get("Contents", []):
                    yield Object(found["Key"], found["Size"], found["LastModified"].timestamp())
        except Exception as error:
            raise self._told(error) from error

    def download(self, key: str, path: str) -> None:
        self._ask("download_file", self._name, key, path)

    def upload(self, path: str, key: str) -> None:
        self._ask("upload_file", path, self._name, key)

    def delete(self, key: str) -> None:
        self._ask("delete_object", Bucket=self._name, Key=key)

    def read(self, key: str) -> tuple[bytes, str] | None:
        try:
            answer = self._client.get_object(Bucket=self._name, Key=key)
            return answer["Body"].read(), answer["ETag"]
        except Exception as error:
            if _code(error) == "NoSuchKey":
                return None
            raise self._told(error) from error

    def write_over(self, key: str, content: bytes, version: str | None) -> str | None:
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        try:
            return self._client.put_object(Bucket=self._name, Key=key, Body=content, **condition)["ETag"]
        except Exception as error:
            # The last one: an object that is gone has no version to match.
            if _code(error) in ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"):
                return None
            raise self._told(error) from error

    def _ask(self, method: str, *arguments, **named):
        try:
            return getattr(self._client, method)(*arguments, **named)
        except Exception as error:
            raise self._told(error) from error

    def _told(self, error: Exception) -> Exception:
        """A failure of the service or of the client's settings in a sentence; what is neither stays as it is."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError

        if isinstance(error, BotoCoreError | Boto3Error) or _code(error) is not None:
            return SegpipeError(
                f"{self.address}: S3 does not let it ({error}); see to the bucket, to AWS_ACCESS_KEY_ID, "
                f"AWS_SECRET_ACCESS_KEY and AWS_DEFAULT_REGION, or to AWS_ENDPOINT_URL_S3 of another service"
            )
        return error


def _code(error: Exception) -> str | None:
    """The code that S3 answered with."""
    return getattr(error, "response", {}).get("Error", {}).get("Code")


class CloudStorageBucket:
    """A bucket of Google Cloud Storage."""

    def __init__(self, name: str):
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from google.cloud import storage

        self.address, self._failures = f"gs://{name}", (GoogleAPIError, GoogleAuthError, OSError)
        try:
            self._client = storage.Client()
        except self._failures as error:
            raise self._told(error) from error
        self._bucket = self._client.bucket(name)

    def list(self, prefix: str) -> Iterator[Object]:
        try:
            for blob in self._client.list_blobs(self._bucket, prefix=prefix):
                yield Object(blob.name, blob.size, blob.updated.timestamp())
        except self._failures as error:
            raise self._told(error) from error

    def download(self, key: str, path: str) -> None:
        self._ask(lambda: self._bucket.blob(key).download_to_filename(path))

    def upload(self, path: str, key: str) -> None:
        self._ask(lambda: self._bucket.blob(key).upload_from_filename(path))

    def delete(self, key: str) -> None:
        from google.api_core.exceptions import NotFound

        def gone() -> None:
            try:
                self._bucket.delete_blob(key)
            except NotFound:
                return

        self._ask(gone)

    def read(self, key: str) -> tuple[bytes, str] | None:
        from google.api_core.exceptions import NotFound, PreconditionFailed

        blob = self._bucket.blob(key)
        try:
            blob.reload()
            generation = blob.generation
            return blob.download_as_bytes(if_generation_match=generation), str(generation)
        except NotFound:
            return None
        except PreconditionFailed:
            # Written anew since it was described.
            return self.read(key)
        except self._failures as error:
            raise self._told(error) from error

    def write_over(self, key: str, content: bytes, version: str | None) -> str | None:
        from google.api_core.exceptions import PreconditionFailed

        blob = self._bucket.blob(key)
        try:
            blob.upload_from_string(content, if_generation_match=int(version or 0))
        except PreconditionFailed:
            return None
        except self._failures as error:
            raise self._told(error) from error
        return str(blob.generation)

    def _ask(self, work):
        try:
            return work()
        except FileNotFoundError:
            # On this machine; what the bucket lacks has an error of its own.
            raise
        except self._failures as error:
            raise self._told(error) from error

    def _told(self, error: Exception) -> SegpipeError:
        return SegpipeError(
            f"{self.address}: Cloud Storage does not let it ({error}); see to the bucket and to the roles of the "
            f"account that GOOGLE_APPLICATION_CREDENTIALS or the machine gives"
        )
