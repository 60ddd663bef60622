"""The console command ``alignrec``. A subcommand imports what it needs when it runs, so that a look-up stays fast."""

import os
import sys
from contextvars import ContextVar
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, get_type_hints

import click
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from alignrec_assets.failures import explain, tell
from alignrec_assets.home import HOME_VARIABLE, Home

app = typer.Typer(
    help="Exploration for recommender systems, planned by language models and aligned with what users really like.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
# What is printed holds names and words of the user's data: none of it is markup or the code of an emoji.
console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
errors = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)

TRACEBACK_VARIABLE = "TRACEBACK"
FAILED, INTERRUPTED, OUTPUT_CLOSED = 1, 130, 141
"""Exit codes: the last two are those of a program that SIGINT or SIGPIPE ends. Click ends with 2 for wrong usage."""
home_in_use: ContextVar[Home | None] = ContextVar("home_in_use", default=None)
"""The home of this command, which keeps what is too long for a message."""

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help=f"Home of the data source; by default ${HOME_VARIABLE}, else .alignrec/simulated."),
]
DayOption = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="A day such as 2026-01-07.")]


def main() -> None:
    """Entry point: every failure becomes one message, without a traceback."""
    code = _exit_code()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:  # None: it was closed before the command began
                stream.flush()
        except BrokenPipeError:
            code = OUTPUT_CLOSED
        except OSError:
            code = code or FAILED
    # At a normal exit after a run with sentence-transformers, duckdb's binding prints 40 lines about objects that the
    # interpreter no longer frees. Everything of ours is closed by now.
    os._exit(code)


def _exit_code() -> int:
    try:
        _commands()()
    except SystemExit as done:
        if isinstance(done.__context__, BrokenPipeError):
            return OUTPUT_CLOSED
        return _interrupted() if done.code == INTERRUPTED else done.code if isinstance(done.code, int) else 0
    except BaseException as error:  # the one place where all that can fail is told
        failure = explain(error)
        if failure.interrupted:
            return _interrupted()
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        errors.print(Text.assemble(("error", "bold red"), f" {tell(failure, home_in_use.get())}"))
        return FAILED
    return 0


def _interrupted() -> int:
    errors.print("interrupted: what was finished stays, and the same command goes on from there")
    return INTERRUPTED


def _commands() -> click.Command:
    """The commands with the help of their arguments: Typer 0.25 loses it beside Click 8.5."""
    group = typer.main.get_command(app)
    for command in getattr(group, "commands", {}).values():
        hints = get_type_hints(command.callback, include_extras=True)
        for parameter in command.params:
            if isinstance(parameter, click.Argument):
                parameter.help = hints[parameter.name].__metadata__[0].help
    return group


@app.command()
def lookup(
    clusters: Annotated[list[str], typer.Argument(help="K clusters, each by id or by (part of) its label.")],
    home: HomeOption = None,
    version: Annotated[str | None, typer.Option(help="A published version; by default the current one.")] = None,
) -> None:
    """Print the clusters that are planned for users of these clusters, from the published files alone."""
    chosen = _use(home)
    from alignrec_assets.commands.lookup import look_up

    look_up(chosen, clusters, version, console.print)


@app.command(name="clusters")
def list_clusters(home: HomeOption = None) -> None:
    """List the interest clusters: id, number of items, label and some titles."""
    chosen = _use(home)
    from alignrec_assets.commands.clusters import show_clusters

    show_clusters(chosen, console.print)


@app.command()
def rejected(
    day: DayOption = None,
    kind: Annotated[
        str | None,
        typer.Option(help="items, events, feedback, outcomes, or source: rows that `alignrec ingest` could not read."),
    ] = None,
    reason: Annotated[str | None, typer.Option(help="A part of the reason, such as 'is not a number'.")] = None,
    home: HomeOption = None,
) -> None:
    """Show the landing rows that were rejected: how many for each reason, and some of them."""
    chosen = _use(home)
    from alignrec_assets.commands.rejected import show_rejected

    show_rejected(chosen, _day(day), kind, reason, console.print)


@app.command()
def rollback(
    version: Annotated[str, typer.Argument(help="A published version: the name of its folder in published/.")],
    home: HomeOption = None,
) -> None:
    """Make an earlier version current until the next publication, in the home and in its bucket."""
    from alignrec_assets.remote import publish_current
    from alignrec_assets.settings.sources import load_settings
    from models.serving.transition_table import make_current

    chosen = _use(home)
    make_current(chosen.published, version)
    publish_current(chosen.published, load_settings(chosen).remote.published, _write)
    _write(f"version {version} is current in {chosen.published}")


@app.command()
def ingest(
    data_format: Annotated[
        str, typer.Argument(metavar="FORMAT", help="movietweetings, movielens, kuairand or landing.")
    ],
    path: Annotated[Path, typer.Argument(help="Folder of the data set.")],
    home: HomeOption = None,
    tag_names: Annotated[Path | None, typer.Option(help="kuairand: file with the names of the tags.")] = None,
) -> None:
    """Turn a data set into landing files, and choose the settings that depend on the data."""
    from alignrec_assets.commands.ingest import ingest_source

    ingest_source(_use(home), data_format, path, tag_names, _write)


@app.command()
def simulate(
    users: Annotated[int, typer.Option(min=1, help="How many users.")] = 4_000,
    days: Annotated[int, typer.Option(min=1, help="How many days.")] = 14,
    items: Annotated[
        int, typer.Option(min=1, help="Items on the first day; half a percent more appear each day.")
    ] = 2_000,
    topics: Annotated[int, typer.Option(help="24, 48, 64, 96 or 768 interests.")] = 24,
    mix: Annotated[float, typer.Option(help="Share of taste that words do not tell: 0 to 1.")] = 0.5,
    correlation: Annotated[float, typer.Option(help="Between taste and activity: -1 to 1.")] = 0.0,
    random_exposures: Annotated[int, typer.Option(min=0, help="Random exposures per session, as feedback.")] = 1,
    seed: Annotated[int, typer.Option(help="The same seed, the same files, byte for byte.")] = 0,
    first_day: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The first day.")] = datetime(2026, 1, 5),
    contest_seeds: Annotated[
        int, typer.Option(min=0, help="Also compare predictors in worlds of this many seeds and five mixes.")
    ] = 0,
    home: HomeOption = None,
) -> None:
    """Write the logs of a simulated world to the landing zone, set the home's calendar, and report on the world."""
    chosen = _use(home)
    from alignrec_assets.commands.simulate import simulate_world
    from models.arena.world import WorldOptions

    options = WorldOptions(
        first_day=first_day.date(),
        users=users,
        items=items,
        topics=topics,
        random_shelf=random_exposures,
        mix=mix,
        correlation=correlation,
        seed=seed,
    )
    simulate_world(chosen, options, days, contest_seeds, _write)


@app.command()
def run(
    home: HomeOption = None,
    first: DayOption = None,
    last: DayOption = None,
) -> None:
    """Run the whole line: days, learning, publication. What is unchanged is skipped."""
    chosen = _use(home)
    from alignrec_assets.commands.run import run_line

    run_line(chosen, _day(first), _day(last), _write)


@app.command()
def prepare(home: HomeOption = None) -> None:
    """Make the folders of the home and its Dagster instance: on Postgres where DAGSTER_POSTGRES_HOST is set."""
    chosen = _use(home)
    from alignrec_assets.instance.dagster_home import prepare_instance

    prepare_instance(chosen)


@app.command()
def search(home: HomeOption = None) -> None:
    """Search for better settings of the alignment model, by the budget in the settings. Resumable."""
    chosen = _use(home)
    from alignrec_assets.commands.run import run_beside_the_line

    run_beside_the_line(chosen, "search", _write)


@app.command()
def scaling(home: HomeOption = None) -> None:
    """Report what more draws and a higher temperature buy, after a run of the line."""
    chosen = _use(home)
    from alignrec_assets.commands.run import run_beside_the_line

    run_beside_the_line(chosen, "scaling", _write)


@app.command()
def recluster(home: HomeOption = None) -> None:
    """Make a new taxonomy by the settings, and run the whole line on it."""
    chosen = _use(home)
    from alignrec_assets.commands.run import run_line

    run_line(chosen, None, None, _write, recluster=True)


@app.command()
def rebuild(home: HomeOption = None) -> None:
    """Make the warehouse anew from landing files, checkpoints and published versions."""
    chosen = _use(home)
    from alignrec_assets.commands.rebuild import rebuild_warehouse

    rebuild_warehouse(chosen, _write)


@app.command()
def tables() -> None:
    """Print every table of the warehouse, its columns and what holds for its rows, as Markdown."""
    from alignrec_assets.commands.tables import tables_page

    typer.echo(tables_page(), nl=False)


@app.command()
def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go, and change nothing.")] = False,
    home: HomeOption = None,
) -> None:
    """Remove what the settings under housekeeping no longer keep; never what the line or a kept version uses."""
    chosen = _use(home)
    from alignrec_assets.housekeeping import pruning

    found = pruning.plan_pruning(chosen, _write)
    table = Table(box=None, pad_edge=False)
    for heading, justify in (("kind", "left"), ("name", "left"), ("bytes", "right")):
        table.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for piece in found.pieces:
        table.add_row(piece.kind, piece.name, f"{piece.bytes:,}")
    table.add_row("total", f"{len(found.pieces)} pieces", f"{sum(piece.bytes for piece in found.pieces):,}")
    console.print(table)
    for note in found.notes:
        _write(note)
    if dry_run:
        console.print("dry run: nothing was changed")
    elif found.pieces:
        pruning.prune(chosen, found)
        console.print("all of it is gone")


@app.command()
def forget(
    user: Annotated[str, typer.Argument(help="The user's id, as landing files have it.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: HomeOption = None,
) -> None:
    """Erase a user from landing files and warehouse, keep the id out for ever, and list the models that had seen it."""
    chosen = _use(home)
    from alignrec_assets.housekeeping.forgetting import forget_user, knows_user

    if not yes:
        question = f"Erase every row of {user!r} from {chosen.path}, landing files included?"
        if not knows_user(chosen, user, _write):
            question = f"No row of {user!r} is in {chosen.path}. Keep this id out of it for ever all the same?"
        typer.confirm(question, abort=True)
    forget_user(chosen, user, _write)


@app.command()
def unforget(
    user: Annotated[str, typer.Argument(help="The id of a user who was forgotten.")],
    home: HomeOption = None,
) -> None:
    """Read the rows of a forgotten user again in files that come. What was erased does not come back."""
    chosen = _use(home)
    from alignrec_assets.housekeeping.forgetting import unforget_user

    unforget_user(chosen, user, _write)


@app.command()
def settings(
    page: Annotated[
        bool, typer.Option("--page", help="Print docs/settings.md, which describes every setting.")
    ] = False,
    home: HomeOption = None,
) -> None:
    """Print every setting, its value and where it comes from."""
    if page:
        from alignrec_assets.commands.settings import settings_page

        typer.echo(settings_page(), nl=False)
        return
    from alignrec_assets.settings.chosen_values import chosen_before
    from alignrec_assets.settings.sources import describe_settings, masked

    chosen = _use(home)
    by_ingest = chosen_before(chosen)
    table = Table(box=None, pad_edge=False)
    for heading in ("setting", "value", "from"):
        table.add_column(heading, overflow="fold")
    for name, value, origin in describe_settings(chosen):
        told = f"{origin}, chosen by ingest" if origin == "settings.toml" and name in by_ingest else origin
        table.add_row(name, masked(value), told)
    console.print(f"home {chosen.path}")
    console.print(table)


@app.command()
def demo(
    source: Annotated[str, typer.Option(help="simulated, or a format that `alignrec ingest` reads.")] = "simulated",
    data: Annotated[Path | None, typer.Option(help="Folder of the data set; not for the simulated world.")] = None,
    home: HomeOption = None,
) -> None:
    """Carry data along the whole line and report: a simulated world, or a public data set."""
    chosen = _use(home, source)
    from alignrec_assets.commands.demo import run_demo

    run_demo(chosen, source, data, _write)


@app.command()
def study(
    size: Annotated[int, typer.Option(help="Topics of the simulated world: 64, or 768 with few feedback.")] = 64,
    users: Annotated[int | None, typer.Option(min=100, help="Of the simulated world: 60,000, or 80,000.")] = None,
    home: HomeOption = None,
) -> None:
    """Compare the alignment model with the truth of a simulated world. Resumable; about an hour for either size."""
    if size not in (64, 768):
        raise typer.BadParameter(f"there is no study of {size} topics: choose 64 or 768", param_hint="--size")
    chosen = _use(home, "study" if size == 64 else f"study-{size}")
    if size == 64:
        from alignrec_assets.commands.study import USERS, run_study

        run_study(chosen, users or USERS, _write)
    else:
        from alignrec_assets.commands.few_feedback_study import USERS, run_few_feedback_study

        run_few_feedback_study(chosen, users or USERS, _write)


def _use(home: Path | None, source: str = "simulated") -> Home:
    """The home of this command, refused where it cannot be used."""
    chosen = Home.from_environment(source) if home is None else Home(home.expanduser().resolve())
    chosen.check()
    home_in_use.set(chosen)
    return chosen


def _day(moment: datetime | None) -> date | None:
    return moment.date() if moment else None


def _write(line: str) -> None:
    console.print(line)
