"""What the command line asks and prints; the commands themselves are tested where they are made."""

import os
import subprocess
import sys

import click
import pytest
from support.landing import EVENT, ITEMS, load, write
from support.line import environment
from support.published import publish_version
from typer.testing import CliRunner

from alignrec_assets import cli
from alignrec_assets.home import Home
from alignrec_assets.landing.tombstones import read_tombstones
from alignrec_assets.warehouse.connection import Warehouse


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", "")
    home = Home(tmp_path / "home")
    home.create()
    write(home.landing / "items" / "items.jsonl", ITEMS)
    write(home.landing / "events" / "e.jsonl", [EVENT | {"user_id": "ada"}])
    with Warehouse(home).writing() as connection:
        load(connection, home.landing)
    return home


def typed(home, *words, answer=""):
    return CliRunner().invoke(cli.app, [*words, "--home", str(home.path)], input=answer)


def forgotten(home):
    return len(read_tombstones(home.landing).users)


@pytest.mark.parametrize(("user", "asks"), [("ada", "Erase every row of 'ada'"), ("adda", "No row of 'adda' is in")])
@pytest.mark.parametrize(("answer", "done"), [("y\n", 1), ("n\n", 0), ("", 0)])
def test_forget_asks_and_says_where_it_knows_nobody(home, user, asks, answer, done, comes_out):
    result = typed(home, "forget", user, answer=answer)
    assert asks in result.output
    assert forgotten(home) == done
    assert (result.exit_code == 0) == bool(done)
    if user == "adda" and not done:
        comes_out(
            "forget", "forget a user whom nobody knows", "it asks whether to keep that id out for ever all the same"
        )


def test_forget_without_a_question_says_that_the_id_was_not_found(home, comes_out):
    result = typed(home, "forget", "adda", "--yes")
    assert "'adda' was not found" in result.output.replace("\n", " ")
    assert "alignrec unforget" in result.output
    assert typed(home, "unforget", "adda").exit_code == 0
    assert forgotten(home) == 0
    comes_out(
        "forget",
        "forget --yes a user whom nobody knows",
        "it says that the id was not found, and how to let it in again",
    )


def test_every_argument_and_option_has_a_help():
    for name, command in cli._commands().commands.items():
        for parameter in command.params:
            assert parameter.help, f"{name} {parameter.name}"
            if isinstance(parameter, click.Argument):
                shown = CliRunner().invoke(cli.app, [name, "--help"])
                assert shown.exit_code == 0


PRINTED = ["[/red]", "[bold]x", "\\[x", ":smiley:", "a]b", "[link=http://x]y[/link]"]


@pytest.mark.parametrize("words", PRINTED)
def test_what_is_printed_is_no_markup(capsys, words, comes_out):
    cli._write(words)
    assert capsys.readouterr().out == f"{words}\n"
    comes_out("homes", f"a message with the words {words!r}", "printed as they are")


def run(home, *words, **streams):
    command = [sys.executable, "-c", "from alignrec_assets.cli import main; main()", *words, "--home", str(home.path)]
    known = environment(home.path) | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    return subprocess.run(command, env=known, text=True, check=False, timeout=120, **streams)


def test_a_message_names_a_home_with_markup_in_its_name(tmp_path, comes_out):
    done = run(Home(tmp_path / "x[" / "red] y"), "settings", capture_output=True)
    assert done.returncode == 1
    assert "x[/red] y" in done.stderr
    assert "rename that folder" in done.stderr
    comes_out("homes", "a home named x[/red]", "refused by name, which is printed as it is")


@pytest.mark.parametrize("words", [("settings",), ("settings", "--page")])
def test_an_output_that_nobody_reads_ends_the_command_without_a_word(home, words, comes_out):
    reader, writer = os.pipe()
    os.close(reader)
    done = run(home, *words, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")
    comes_out(
        "interrupted",
        f"the output of `alignrec {' '.join(words)}` is closed by its reader",
        "exit code 141, no message",
    )


def test_without_an_output_at_all_a_command_still_works(home):
    command = f'{sys.executable} -c "from alignrec_assets.cli import main; main()" settings --home {home.path} >&-'
    done = subprocess.run(
        command, shell=True, env=environment(home.path) | dict(os.environ), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_rollback_takes_no_path(home, comes_out):
    version = publish_version(home.published, 0.5)
    done = run(home, "rollback", f"{version}/", capture_output=True)
    assert done.returncode == 1
    assert "is no name" in done.stderr
    assert (home.published / "CURRENT").read_text() == f"{version}\n"


def test_settings_tell_what_ingest_chose_from_what_the_user_set(home, monkeypatch):
    monkeypatch.setattr(cli.console, "width", 200)
    home.settings.write_text("[interests]\nclusters = 40 # ingest chose 40: some reason\nseed = 7\n")
    told = typed(home, "settings").stdout.splitlines()
    lines = {line.split()[0]: line.split(maxsplit=2)[2].strip() for line in told if line.startswith("interests.")}
    assert lines["interests.clusters"] == "settings.toml, chosen by ingest"
    assert lines["interests.seed"] == "settings.toml"
