"""Debian's Postgres server in a folder of its own, on the loopback, with a password that opens nothing else."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

PASSWORD = "sesame/with+odd@signs:"


def server_programs():
    """The folder of ``initdb`` and ``pg_ctl``, the newest if there are several; none where no server is installed."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return versions[-1].parent if versions else None


@contextmanager
def postgres_server():
    """Yields the variables by which the project finds a fresh server with an empty database."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    owner = {"user": pwd.getpwnam("postgres").pw_uid, "cwd": folder} if os.getuid() == 0 else {"cwd": folder}
    if os.getuid() == 0:  # the server refuses to run as root
        shutil.chown(folder, "postgres")
    (folder / "password").write_text(PASSWORD)
    (folder / "password").chmod(0o644)

    def run(program, *arguments):
        command = [server_programs() / program, "--pgdata", folder / "data", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **owner)

    port = free_port()
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    try:
        run("initdb", "--auth=scram-sha-256", "--username=alignrec", f"--pwfile={folder}/password", "--no-sync")
        run("pg_ctl", "start", "--wait", f"--log={folder}/log", f"--options={options}")
        yield {
            "DAGSTER_POSTGRES_HOST": "127.0.0.1",
            "DAGSTER_POSTGRES_PORT": str(port),
            "DAGSTER_POSTGRES_DB": "postgres",
            "DAGSTER_POSTGRES_USER": "alignrec",
            "DAGSTER_POSTGRES_PASSWORD": PASSWORD,
        }
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            run("pg_ctl", "stop", "--mode=immediate")
        shutil.rmtree(folder)


def free_port():
    """A port of the loopback that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
