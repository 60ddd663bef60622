"""A home whose runs and events lie in Postgres, on Debian's server."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psycopg2
import pytest
import yaml
from support.line import DAYS, FIRST_DAY, LAST_DAY, command, launch, simulate
from support.postgres import PASSWORD, free_port, postgres_server, server_programs

from alignrec_assets.home import Home

PROJECT = Path(__file__).resolve().parents[2]
BEFORE = {}
"""The SQLite databases of a home before it moved."""


def databases(home):
    return {path.name: path.read_bytes() for path in home.dagster.rglob("*.db")}


@pytest.fixture(scope="module")
def server():
    if server_programs() is None:
        message = "no Postgres server: apt-get install postgresql"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    with postgres_server() as variables:
        yield variables


@pytest.fixture(scope="module")
def home(server, tmp_path_factory, tiny_model_folder):
    """A home that began on SQLite and moved to Postgres, on which the days have run."""
    found = Home(tmp_path_factory.mktemp("on-postgres"))
    simulate(found, tiny_model_folder)
    command(found.path, "alignrec", "prepare")
    BEFORE[found.path] = databases(found)
    command(found.path, "alignrec", "prepare", **server)
    command(found.path, *launch("tag:selection=days", FIRST_DAY, LAST_DAY), **server)
    return found


def rows(server, sql):
    names = {"host": "HOST", "port": "PORT", "dbname": "DB", "user": "USER", "password": "PASSWORD"}
    connection = psycopg2.connect(**{name: server[f"DAGSTER_POSTGRES_{key}"] for name, key in names.items()})
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()
    finally:
        connection.close()


def python(home, server, script):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DAGSTER_")}
    environment = clean | server | {"ALIGNREC_HOME": str(home.path), "DAGSTER_HOME": str(home.dagster)}
    return subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=home.path, capture_output=True, text=True, check=False
    )


def test_runs_events_and_materializations_lie_in_postgres_alone(home, server):
    assert ("SUCCESS",) in rows(server, "SELECT status FROM runs")
    days = rows(
        server,
        "SELECT asset_key, count(DISTINCT partition) FROM event_logs "
        "WHERE dagster_event_type = 'ASSET_MATERIALIZATION' GROUP BY asset_key",
    )
    materialized = {"/".join(json.loads(key)): count for key, count in days}
    assert materialized["raw/events"] == materialized["feedback/transition_scores"] == DAYS
    assert "interests/clusters" in materialized
    assert databases(home) == BEFORE[home.path]


def test_a_run_whose_process_was_killed_is_failed_and_frees_its_slot(home, server):
    killed = """
import os, signal, dagster as dg
@dg.asset(pool="language_model")
def heavy():
    os.kill(os.getpid(), signal.SIGKILL)
with dg.DagsterInstance.get() as instance:
    dg.materialize([heavy], instance=instance)
"""
    slots = """
import dagster as dg
from alignrec_assets.instance.dagster_home import fail_dead_runs
with dg.DagsterInstance.get() as instance:
    for act in (lambda instance, log: None, fail_dead_runs):
        act(instance, print)
        print(instance.event_log_storage.get_concurrency_info("language_model").active_slot_count)
"""
    assert python(home, server, killed).returncode == -9
    assert ("STARTED",) in rows(server, "SELECT status FROM runs")
    before, told, after = python(home, server, slots).stdout.splitlines()
    assert (before, after) == ("1", "0")
    assert "marked as failed" in told
    assert ("STARTED",) not in rows(server, "SELECT status FROM runs")


def test_a_home_on_postgres_does_not_go_back_unasked_and_names_what_is_missing(home, server):
    gone = command(home.path, "alignrec", "run", check=False)
    assert gone.returncode == 1
    assert "DAGSTER_POSTGRES_HOST, DAGSTER_POSTGRES_PORT" in gone.stderr
    half = command(home.path, "alignrec", "run", check=False, **(server | {"DAGSTER_POSTGRES_DB": ""}))
    assert "keeps runs in Postgres, but DAGSTER_POSTGRES_DB is not set" in half.stderr


def test_an_edited_instance_file_is_left_alone(server, tmp_path):
    home = Home(tmp_path)
    home.create()
    edited = "telemetry: {enabled: false}\n"
    (home.dagster / "dagster.yaml").write_text(edited)
    refused = command(home.path, "alignrec", "prepare", check=False, **server)
    assert "give it the storage section of dagster-postgres.yaml" in refused.stderr
    assert (home.dagster / "dagster.yaml").read_text() == edited


def test_a_server_that_lets_no_one_in_is_one_message_without_the_password(home, server):
    wrong = server | {"DAGSTER_POSTGRES_PASSWORD": "not-" + PASSWORD}
    done = command(home.path, "alignrec", "run", check=False, **wrong)
    assert done.returncode == 1
    assert 'password authentication failed for user "alignrec"' in done.stderr
    assert "Traceback" not in done.stderr
    assert PASSWORD not in done.stdout + done.stderr


def test_the_password_is_in_no_file_of_the_home_and_in_no_event(home, server):
    files = [path for path in home.path.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert not [path for path in files if PASSWORD.encode() in path.read_bytes()]
    assert rows(server, "SELECT count(*) FROM event_logs WHERE event LIKE '%DAGSTER_POSTGRES%'") == [(0,)]
    ((body,),) = rows(server, "SELECT string_agg(event, '') FROM event_logs")
    assert len(body) > 100_000
    assert PASSWORD not in body


def test_the_two_instance_files_differ_by_their_storage_alone():
    plain, on_postgres = (yaml.safe_load((PROJECT / f).read_text()) for f in ("dagster.yaml", "dagster-postgres.yaml"))
    assert on_postgres.pop("storage")
    assert plain.pop("event_log_storage")
    assert plain == on_postgres


def ask(port, query):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["data"]


@pytest.mark.full
def test_the_commands_of_the_compose_file_work_together(home, server):
    """Without containers: every service on the loopback, the server in place of the service postgres."""
    services = yaml.safe_load((PROJECT / "compose.yaml").read_text())["services"]
    ports = {"4000": str(free_port()), "3000": str(free_port())}
    here = {"0.0.0.0": "127.0.0.1", "code": "127.0.0.1", **ports}
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ALIGNREC_", "DAGSTER_"))}
    environment = clean | server | {"ALIGNREC_HOME": str(home.path), "DAGSTER_HOME": str(home.dagster)}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"

    def start(name):
        said = services[name]["command"]
        line = said if isinstance(said, list) else ["sh", "-c", f"exec {said}"]
        translated = " ".join(here.get(word, word) for word in line[-1].split())
        with (home.path / f"{name}.log").open("w") as log:
            return subprocess.Popen([*line[:-1], translated], env=environment, cwd=home.path, stdout=log, stderr=log)

    def code_is_healthy():
        check = [here.get(word, word) for word in services["code"]["healthcheck"]["test"][1:]]
        return subprocess.run(check, env=environment, capture_output=True, check=False).returncode == 0

    def assets_are_seen():
        found = ask(ports["3000"], "{ assetNodes { assetKey { path } } }")
        return ["raw", "events"] in [node["assetKey"]["path"] for node in found["assetNodes"]]

    def sensors_are_looked_at():
        found = ask(ports["3000"], '{ instance { daemonHealth { daemonStatus(daemonType: "SENSOR") { healthy } } } }')
        return found["instance"]["daemonHealth"]["daemonStatus"]["healthy"]

    started = [start("code")]
    try:
        wait_until(code_is_healthy)
        started += [start("webserver"), start("daemon")]
        wait_until(assets_are_seen)
        wait_until(sensors_are_looked_at)
        assert [process.poll() for process in started] == [None] * 3
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:  # compose kills then, too: a code server may not hear the first call
                process.kill()
                process.wait()


def wait_until(holds, seconds=180):
    deadline = time.monotonic() + seconds
    while not _answers(holds):
        assert time.monotonic() < deadline, f"waited in vain: {holds.__name__}"
        time.sleep(1)


def _answers(holds):
    try:
        return holds()
    except OSError:  # nobody listens yet
        return False
