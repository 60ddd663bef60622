"""Fetching and publishing against a real S3 server on the loopback."""

import subprocess
import sys

import dagster as dg
import polars as pl
import pytest
from support.bucket import ENVIRONMENT, bucket_server
from support.published import publish_version

from alignrec_assets import remote
from alignrec_assets.housekeeping.forgetting import forget_user
from alignrec_assets.remote import RemoteError, fetch_landing, publish_current
from models.progress import silent
from models.serving.transition_table import TransitionTable, current_version, make_current

LANDING = "s3://platform/landing"
PUBLISHED = "s3://platform/published"


@pytest.fixture(scope="module")
def server():
    with bucket_server() as endpoint:
        yield endpoint


@pytest.fixture
def store(server, monkeypatch):
    """A client of the server with an empty bucket; what is under test reads the same environment."""
    from s3fs import S3FileSystem

    for name, value in (ENVIRONMENT | {"AWS_ENDPOINT_URL": server}).items():
        monkeypatch.setenv(name, value)
    client = S3FileSystem(use_listings_cache=False, skip_instance_cache=True)
    client.mkdir("platform")
    yield client
    client.rm("platform", recursive=True)


def fetch(home):
    said = []
    fetch_landing(home, LANDING, said.append)
    return said


def landed(home):
    files = (path for path in home.landing.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(home.landing)): path.read_bytes() for path in files}


def test_new_and_changed_files_are_fetched_by_their_paths_and_others_left_alone(store, home):
    first = {"items/items.csv": b"item_id,title\na,jazz\n", "events/day=2026-01-05/part-0.csv": b"user_id\nada\n"}
    for path, content in first.items():
        store.pipe_file(f"{LANDING}/{path}", content)
    assert fetch(home) == [f"{LANDING}: 2 landing files, 2 fetched"]
    assert landed(home) == first
    kept = (home.landing / "items/items.csv").stat()

    assert fetch(home) == [f"{LANDING}: 2 landing files, 0 fetched"]
    store.pipe_file(f"{LANDING}/events/day=2026-01-05/part-0.csv", b"user_id\neve\n")  # as long as before
    store.pipe_file(f"{LANDING}/events/day=2026-01-06/part-0.csv", b"user_id\nbob\n")
    assert fetch(home) == [f"{LANDING}: 3 landing files, 2 fetched"]
    assert landed(home)["events/day=2026-01-05/part-0.csv"] == b"user_id\neve\n"
    assert (home.landing / "items/items.csv").stat() == kept


def test_a_file_that_was_cut_or_lost_here_is_fetched_again_and_one_gone_there_stays(store, home):
    for name in ("a", "b", "c"):
        store.pipe_file(f"{LANDING}/items/{name}.csv", name.encode() * 9)
    fetch(home)
    (home.landing / "items/a.csv").unlink()
    (home.landing / "items/b.csv").write_bytes(b"b")
    store.rm(f"{LANDING}/items/c.csv")
    assert fetch(home) == [
        f"{LANDING}: 2 landing files, 2 fetched",
        f"{LANDING}: 1 files are no longer there; their copies in {home.landing} stay",
    ]
    assert landed(home) == {f"items/{name}.csv": name.encode() * 9 for name in ("a", "b", "c")}
    assert fetch(home) == [f"{LANDING}: 2 landing files, 0 fetched"]


def test_a_forgotten_user_does_not_come_back_from_the_bucket(store, home, monkeypatch):
    monkeypatch.setenv("ALIGNREC_HOME", str(home.path))
    home.settings.write_text(f"[remote]\nlanding = '{LANDING}'\n")
    ada, bob = (f"{user},a,2026-01-05T10:00:00Z\n".encode() for user in ("ada", "bob"))
    head = b"user_id,item_id,ts\n"
    items = {"items/items.csv": b"item_id,title\na,jazz\n"}
    files = items | {"events/1.csv": head + ada + bob, "events/2.csv": head + ada}
    for path, content in files.items():
        store.pipe_file(f"{LANDING}/{path}", content)
    fetch(home)
    said = []
    forget_user(home, "ada", said.append)
    assert said[-1].startswith(f"{LANDING} was not touched")
    for _ in range(2):
        assert fetch(home) == [f"{LANDING}: 3 landing files, 0 fetched"]
        assert {path: content for path, content in landed(home).items() if path != "FORGOTTEN"} == items | {
            "events/1.csv": head + bob
        }
    (home.landing / "events/1.csv").unlink()  # lost, but nobody can tell that from a file that was taken out
    store.pipe_file(f"{LANDING}/events/1.csv", head + bob + bob)
    assert fetch(home) == [f"{LANDING}: 3 landing files, 1 fetched"]
    (home.landing / "events/1.csv").write_bytes(b"cut")
    assert fetch(home) == [f"{LANDING}: 3 landing files, 1 fetched"]
    assert landed(home)["events/1.csv"] == head + bob + bob


def test_what_a_landing_zone_passes_over_or_leads_out_of_it_is_not_fetched(store, home):
    for path in ("items/_SUCCESS", "items/.hidden.csv", "items/a.csv.partial", "../../out.csv", "items//b.csv"):
        store.call_s3("put_object", Bucket="platform", Key=f"landing/{path}", Body=b"x")
    store.pipe_file(f"{LANDING}/items/a.csv", b"a")
    assert fetch(home) == [f"{LANDING}: 1 landing files, 1 fetched"]
    assert landed(home) == {"items/a.csv": b"a"}
    assert sorted(path.name for path in home.path.parent.iterdir()) == ["home"]


def test_a_fetch_that_breaks_off_keeps_whole_files_and_goes_on_from_there(store, home, monkeypatch):
    from s3fs import S3FileSystem

    for name in ("a", "b"):
        store.pipe_file(f"{LANDING}/items/{name}.csv", name.encode())
    whole = S3FileSystem.get_file

    def breaks_at_b(self, source, target):
        whole(self, source, target)
        if source.endswith("b.csv"):
            raise ConnectionError("reset by peer")

    monkeypatch.setattr(S3FileSystem, "get_file", breaks_at_b)
    with pytest.raises(RemoteError, match="reset by peer"):
        fetch(home)
    assert landed(home) == {"items/a.csv": b"a"}
    monkeypatch.setattr(S3FileSystem, "get_file", whole)
    assert fetch(home) == [f"{LANDING}: 2 landing files, 1 fetched"]


def test_one_fetch_at_a_time(store, home):
    with (
        remote._fetching_alone(home.landing, wait=True),
        pytest.raises(RemoteError, match="another process is fetching"),
    ):
        fetch_landing(home, LANDING, silent, wait=False)


def test_without_a_bucket_nothing_is_asked_for(home, monkeypatch):
    monkeypatch.setattr(remote, "_bucket", None)
    fetch_landing(home, None, silent)
    publish_current(home.published, None, silent)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ({"AWS_SECRET_ACCESS_KEY": None}, "missing: AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "127.0.0.1:9"),
    ],
)
def test_an_error_names_the_bucket_and_the_variable(store, home, monkeypatch, variables, message):
    for name, value in variables.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    with pytest.raises(RemoteError, match=message) as caught:
        fetch(home)
    assert LANDING in str(caught.value)
    assert ENVIRONMENT["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)


def test_a_bucket_that_does_not_exist_is_named(store, home, server):
    with pytest.raises(RemoteError, match=f"s3://nowhere/landing at {server}: The specified bucket does not exist"):
        fetch_landing(home, "s3://nowhere/landing", silent)


def test_without_the_extra_the_message_names_it(home, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.setattr(remote, "find_spec", lambda name: None if sys.modules.get(name) is None else object())
    with pytest.raises(RemoteError, match=r"pip install 'alignrec\[s3\]'"):
        fetch(home)


def read_published(store, folder):
    """What a reader of the bucket gets: everything in it, checked as any published version is."""
    store.get(PUBLISHED, str(folder), recursive=True)
    return TransitionTable.open(folder)


def publish_there(home):
    said = []
    publish_current(home.published, PUBLISHED, said.append)
    return said


def test_a_version_is_uploaded_whole_once_and_a_rollback_moves_the_pointer(store, home, tmp_path):
    first = publish_version(home.published, score=0.1)
    assert publish_there(home) == [f"version {first} is current in {PUBLISHED}: 3 of 3 files uploaded"]
    assert read_published(store, tmp_path / "one").rows.equals(TransitionTable.open(home.published).rows)
    assert publish_there(home) == [f"version {first} is current in {PUBLISHED}: 0 of 3 files uploaded"]

    second = publish_version(home.published, score=0.2)
    publish_there(home)
    assert read_published(store, tmp_path / "two").version == second
    make_current(home.published, first)
    assert publish_there(home) == [f"version {first} is current in {PUBLISHED}: 0 of 3 files uploaded"]
    assert read_published(store, tmp_path / "three").version == first


def test_an_object_of_other_content_is_replaced(store, home, tmp_path):
    version = publish_version(home.published, score=0.1)
    size = (home.published / version / "clusters.parquet").stat().st_size
    store.pipe_file(f"{PUBLISHED}/{version}/clusters.parquet", b"x" * size)
    assert "3 of 3" in publish_there(home)[0]
    assert read_published(store, tmp_path / "read").version == version


def test_a_killed_upload_leaves_the_old_version_current_and_the_next_one_finishes(store, home, tmp_path):
    first = publish_version(home.published, score=0.1)
    publish_there(home)
    second = publish_version(home.published, score=0.2)
    script = f"""
import os, signal
from pathlib import Path
from s3fs import S3FileSystem
from alignrec_assets.remote import publish_current
whole = S3FileSystem.put_file
def killed(self, source, target, **options):
    whole(self, source, target, **options)
    os.kill(os.getpid(), signal.SIGKILL)
S3FileSystem.put_file = killed
publish_current(Path({str(home.published)!r}), {PUBLISHED!r}, print)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert store.exists(f"{PUBLISHED}/{second}/transition_table.parquet")
    assert read_published(store, tmp_path / "before").version == first
    assert publish_there(home) == [f"version {second} is current in {PUBLISHED}: 2 of 3 files uploaded"]
    assert read_published(store, tmp_path / "after").version == second
    assert current_version(home.published) == second


def test_a_tick_of_the_sensor_fetches_and_skips_with_the_reason_while_the_bucket_fails(store, home, monkeypatch):
    from datetime import date

    import alignrec_assets.automation.landing_sensor as module
    from alignrec_assets.resources import HomeResource
    from alignrec_assets.settings.sources import update_settings_file

    closed = {"first_day": date(2026, 1, 5), "last_day": date(2026, 1, 6)}
    update_settings_file(home, {"calendar": closed, "remote": {"landing": LANDING}})
    for kind, row in (
        ("items", {"item_id": "a", "title": "jazz"}),
        ("events", {"user_id": "u", "item_id": "a", "ts": "2026-01-05T10:00:00Z"}),
    ):
        file = home.path / "row.parquet"
        pl.DataFrame([row]).write_parquet(file)
        folder = "events/day=2026-01-05" if kind == "events" else kind
        store.put_file(str(file), f"{LANDING}/{folder}/part-0.parquet")
    cursor = None

    def tick():
        resources = {"home": HomeResource(database=str(home.warehouse))}
        with (
            dg.DagsterInstance.ephemeral() as instance,
            dg.build_sensor_context(instance, cursor=cursor, resources=resources) as context,
        ):
            return module.landing_sensor(context)

    with monkeypatch.context() as broken:
        broken.delenv("AWS_SECRET_ACCESS_KEY")
        assert "missing: AWS_SECRET_ACCESS_KEY" in tick().skip_message
    found = tick()
    assert [request.tags["dagster/asset_partition_range_start"] for request in found.run_requests] == ["2026-01-05"]
    cursor = found.cursor
    assert tick().skip_message == "no landing file is new or changed"
