"""The line on a home whose landing files come from a bucket, and whose versions go to one."""

import shutil
from datetime import timedelta

import pytest
from support.bucket import ENVIRONMENT, bucket_server
from support.line import FIRST_DAY, LAST_DAY, command, launch

from alignrec_assets.home import Home
from models.serving.transition_table import TransitionTable

SECRET = ENVIRONMENT["AWS_SECRET_ACCESS_KEY"]


@pytest.fixture(scope="module")
def bucket():
    """A client of a server with an empty bucket, and the variables by which the project finds both."""
    from s3fs import S3FileSystem

    with bucket_server() as endpoint:
        client = S3FileSystem(
            key=ENVIRONMENT["AWS_ACCESS_KEY_ID"], secret=SECRET, endpoint_url=endpoint, use_listings_cache=False
        )
        client.mkdir("platform")
        names = {"LANDING": "s3://platform/landing", "PUBLISHED": "s3://platform/published"}
        settings = {f"ALIGNREC_REMOTE__{name}": url for name, url in names.items()}
        yield client, ENVIRONMENT | {"AWS_ENDPOINT_URL": endpoint} | settings


@pytest.mark.full
def test_landing_files_come_from_the_bucket_and_the_version_goes_there(line_home, bucket, tmp_path):
    client, variables = bucket
    shutil.copytree(line_home.path, tmp_path / "home")
    home = Home(tmp_path / "home")
    client.put(str(home.landing), "platform/landing", recursive=True)
    files = len(client.find("platform/landing"))
    shutil.rmtree(home.landing)
    done = command(home.path, "alignrec", "run", **variables)
    assert f"s3://platform/landing: {files} landing files, {files} fetched" in done.stdout
    assert "skipped: the landing files are unchanged" in done.stdout
    version = TransitionTable.open(home.published).version
    assert f"version {version} is current in s3://platform/published: 3 of 3 files uploaded" in done.stdout

    replaced = TransitionTable.open(home.published).manifest["replaces"]
    command(home.path, "alignrec", "rollback", replaced, **variables)
    assert client.cat_file("platform/published/CURRENT").decode() == f"{replaced}\n"

    shown = command(home.path, "alignrec", "settings", **variables).stdout
    assert "s3://platform/published" in shown
    # On what was fetched, without a bucket.
    plain = command(home.path, *launch('key:"raw/events"', FIRST_DAY, LAST_DAY - timedelta(days=1)))
    assert not [text for text in (done.stdout, done.stderr, shown, plain.stderr) if SECRET in text]
    written = [path for path in home.path.rglob("*") if path.is_file()]
    assert not [path for path in written if SECRET.encode() in path.read_bytes()]


def test_a_run_without_credentials_fails_with_the_variables_that_are_missing(line_home, bucket, tmp_path):
    _, variables = bucket
    shutil.copytree(line_home.path, tmp_path / "home")
    without = {name: value for name, value in variables.items() if not name.endswith(("KEY_ID", "ACCESS_KEY"))}
    done = command(tmp_path / "home", "alignrec", "run", check=False, **without)
    assert done.returncode == 1
    assert "raw/items: s3://platform/landing: Unable to locate credentials: set AWS_ACCESS_KEY_ID" in done.stderr
    assert "Traceback" not in done.stderr
