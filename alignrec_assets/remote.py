"""Landing files from, and published versions to, a bucket of an S3-compatible store.

Where the settings name no bucket, nothing here happens. Endpoint and credentials come from the environment alone, by
the names that every S3 client reads (``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, a profile
or a role): no setting holds a secret.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from alignrec_assets.home import Home
from models.files import MANIFEST_FILE, content_hash, replacing, write_json
from models.progress import Log, Progress
from models.serving.transition_table import CURRENT_FILE, current_version, verify

INDEX_FILE = ".remote.json"
CREDENTIALS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
CONNECT_SECONDS = 5  # botocore waits a minute, as long as a whole tick of the sensor may take
HASH_KEY = "sha256"


class RemoteError(RuntimeError):
    """The bucket cannot be used; the message names it, what is wrong and the variable that fixes it."""


def fetch_landing(home: Home, url: str | None, log: Log, *, wait: bool = True) -> None:
    """Fetch the files under ``url`` that are new or changed there into the landing zone, each whole or not at all.

    A file that is gone from the bucket stays in the landing zone: what was read once must be there for a rebuild.

    Args:
        home: the home.
        url: where the landing files lie, by the same paths as in a landing zone; none means only in the home.
        log: told what was found and fetched.
        wait: whether to wait for another process that is fetching.

    Raises:
        RemoteError: the bucket cannot be read, or another process is fetching.
    """
    if url is None:
        return
    home.create()
    with _fetching_alone(home.landing, wait=wait), _bucket(url) as bucket:
        there = _visible_files(bucket, url)
        known, rewritten = _read_index(home.landing, url)
        changed = [
            path
            for path, found in there.items()
            if known.get(path) != found["ETag"]
            or not (path in rewritten or _is_as_long(home.landing / path, found["size"]))
        ]
        gone = known.keys() - there.keys()
        progress = Progress(len(changed), "landing files", log)
        index = {path: tag for path, tag in known.items() if path in there}
        try:
            for path in changed:
                with replacing(home.landing / path) as partial:
                    bucket.get_file(there[path]["name"], str(partial))
                index[path] = there[path]["ETag"]
                rewritten.discard(path)
                progress.advance()
        finally:
            if changed or gone:
                _write_index(home.landing, url, index, rewritten)
    log(f"{url}: {len(there):,} landing files, {len(changed):,} fetched")
    if gone:
        log(f"{url}: {len(gone):,} files are no longer there; their copies in {home.landing} stay")


def keep_rewritten(landing: Path, url: str | None, files: Iterable[str]) -> None:
    """Note that copies in the landing zone differ from the bucket on purpose, before they do.

    They are not fetched again until they change there: else the next run would bring back what was erased here.
    """
    if url is None:
        return
    with _fetching_alone(landing, wait=True):
        known, rewritten = _read_index(landing, url)
        _write_index(landing, url, known, rewritten | (set(files) & known.keys()))


def publish_current(published: Path, url: str | None, log: Log) -> None:
    """Upload the version that is current here, whole, and only then point the ``CURRENT`` of the bucket at it.

    Readers of the bucket see the version before until the last step. Files that lie there already are passed over, so
    a repeat is cheap, and a rollback uploads a pointer.

    Args:
        published: the folder ``published`` of a home.
        url: where it is published to; none means only in the home.
        log: told what was uploaded.

    Raises:
        RemoteError: the bucket cannot be written.
    """
    if url is None:
        return
    version = current_version(published)
    folder = published / version
    with _bucket(url) as bucket:
        uploaded = [_upload(bucket, folder / name, f"{url}/{version}/{name}") for name in _files_of(folder)]
        bucket.pipe_file(f"{url}/{CURRENT_FILE}", f"{version}\n".encode())
    log(f"version {version} is current in {url}: {sum(uploaded)} of {len(uploaded)} files uploaded")


def _files_of(folder: Path) -> list[str]:
    """The manifest last: a version in the bucket that has one is whole."""
    return [*verify(folder)["files"], MANIFEST_FILE]


def _upload(bucket: Any, file: Path, target: str) -> bool:
    digest = content_hash(file)
    if bucket.exists(target) and bucket.metadata(target).get(HASH_KEY) == digest:
        return False
    bucket.put_file(str(file), target, Metadata={HASH_KEY: digest})
    return True


def _visible_files(bucket: Any, url: str) -> dict[str, dict[str, Any]]:
    """Files under the URL by relative path, without what a landing zone passes over and what leads out of it."""
    root = url.removeprefix("s3://")
    found = {name.removeprefix(f"{root}/"): entry for name, entry in bucket.find(root, detail=True).items()}
    return {path: entry for path, entry in sorted(found.items()) if _is_visible(path)}


def _is_visible(path: str) -> bool:
    return not path.endswith(".partial") and all(part and not part.startswith((".", "_")) for part in path.split("/"))


def _is_as_long(file: Path, size: int) -> bool:
    return file.is_file() and file.stat().st_size == size


def _read_index(landing: Path, url: str) -> tuple[dict[str, str], set[str]]:
    """The tag of each file as it was fetched, and the files that were rewritten since.

    Nothing where that was another bucket, or the index is damaged.
    """
    try:
        index = json.loads((landing / INDEX_FILE).read_text(encoding="utf-8"))
        return (dict(index["files"]), set(index.get("rewritten", []))) if index["url"] == url else ({}, set())
    except (OSError, ValueError, KeyError, TypeError):
        return {}, set()


def _write_index(landing: Path, url: str, files: dict[str, str], rewritten: set[str]) -> None:
    kept = sorted(rewritten & files.keys())
    write_json(landing / INDEX_FILE, {"url": url, "files": files, "rewritten": kept})


@contextmanager
def _fetching_alone(landing: Path, *, wait: bool) -> Iterator[None]:
    """Two threads of one process, such as two ticks, would write the same partial file."""
    descriptor = os.open(landing, os.O_RDONLY)
    try:
        _lock(descriptor, landing, wait=wait)
        yield
    finally:
        os.close(descriptor)  # closing releases the lock


def _lock(descriptor: int, landing: Path, *, wait: bool) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise RemoteError(f"another process is fetching into {landing}") from None


@contextmanager
def _bucket(url: str) -> Iterator[Any]:
    """The store, whose errors become ours."""
    if find_spec("s3fs") is None:
        raise RemoteError(f"{url}: install what a bucket needs, `pip install 'alignrec[s3]'`")
    from botocore.exceptions import BotoCoreError, NoCredentialsError, PartialCredentialsError
    from s3fs import S3FileSystem

    options = {"connect_timeout": CONNECT_SECONDS}
    try:
        # Without caches: a daemon lives for months, and what it once listed changes.
        yield S3FileSystem(use_listings_cache=False, skip_instance_cache=True, config_kwargs=options)
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise RemoteError(f"{url}: {error}: set {CREDENTIALS}, or AWS_PROFILE") from error
    except PermissionError as error:
        raise RemoteError(f"{url}: {error}: see {CREDENTIALS}, and the rights that they have") from error
    except (BotoCoreError, OSError) as error:
        endpoint = os.environ.get("AWS_ENDPOINT_URL") or "Amazon's endpoint (AWS_ENDPOINT_URL names another)"
        raise RemoteError(f"{url} at {endpoint}: {error}") from error
