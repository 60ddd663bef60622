"""The pages: README is short, links lead somewhere, and what the pages name in the project exists."""

import re
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import typer
from support.robustness import KINDS

from alignrec_assets.cli import app, ingest
from alignrec_assets.landing.formats.converters import FORMATS
from alignrec_assets.settings.schema import Settings
from alignrec_assets.settings.sections import CandidateSettings
from alignrec_assets.warehouse.tables import TABLES

PROJECT = Path(__file__).resolve().parents[1]
README, INDEX = PROJECT / "README.md", PROJECT / "docs" / "README.md"
PAGES = [README, PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").glob("*.md"))]
RECIPES = INDEX.with_name("recipes.md")
ENGINES = get_args(CandidateSettings.model_fields["engine"].annotation)
ROOMS = ("alignrec_assets", "models")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(PROJECT).as_posix())
each_page_of_what_exists = pytest.mark.parametrize(
    # The recipes name what they add; test_contributing.py looks for it where they were applied.
    "page",
    [page for page in PAGES if page != RECIPES],
    ids=lambda page: page.relative_to(PROJECT).as_posix(),
)


def prose(page):
    """The text of a page without its code blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def code(page):
    """What a page shows as code: lines of code blocks, and code within sentences."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()] + re.findall(r"`([^`\n]+)`", prose(page))


def links(page):
    """Relative targets of links and pictures: (file, anchor)."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    relative = [target for target in targets if not re.match(r"[a-z]+:", target)]
    return [tuple(target.partition("#")[::2]) for target in relative]


def anchors(page):
    """What GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    slugs = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    return [slug if slug not in slugs[:at] else f"{slug}-{slugs[:at].count(slug)}" for at, slug in enumerate(slugs)]


def commands():
    return typer.main.get_command(app).commands


def test_readme_is_read_in_five_minutes():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


@each_page
def test_links_lead_somewhere(page):
    lost = []
    for file, anchor in links(page):
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(f"{file}#{anchor}")
    assert not lost


def test_index_leads_to_every_page_and_every_kept_report():
    linked = {(INDEX.parent / file).resolve() for file, _ in links(INDEX) if file}
    assert set(PAGES) - {INDEX} <= linked
    reports = [entry for entry in INDEX.parent.iterdir() if entry.is_dir()]
    assert [entry.name for entry in reports if not any(entry in target.parents for target in linked)] == []


def test_every_picture_is_shown_on_a_page():
    shown = {(page.parent / file).resolve() for page in PAGES for file, _ in links(page)}
    kept = [*INDEX.parent.rglob("*.png"), *INDEX.parent.rglob("*.svg")]
    assert [path.relative_to(PROJECT).as_posix() for path in kept if path not in shown] == []


@each_page
def test_alignrec_commands_exist(page):
    unknown = []
    for line in code(page):
        for name, rest in re.findall(r"(?:^|[\s/\[])alignrec ([a-z][a-z-]*)([^`#|]*)", line):
            options = {option for parameter in getattr(commands().get(name), "params", []) for option in parameter.opts}
            wanted = re.findall(r"(?<=[\s\[])--[a-z-]+", rest)
            if name not in commands() or not set(wanted) <= options:
                unknown.append(line)
    assert not unknown


@each_page
def test_make_targets_exist(page):
    targets = re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    named = [name for line in code(page) for name in re.findall(r"(?:^|\s)make ([a-z][a-z-]*)", line)]
    assert set(named) <= set(targets)


@each_page_of_what_exists
def test_paths_in_the_project_exist(page):
    named = re.findall(
        r"(?<![\w./<>-])((?:alignrec_assets|models|sql|tests|benchmarks|docs)/[\w./-]*)", "\n".join(code(page))
    )
    assert [path for path in named if not (PROJECT / path).exists()] == []


@each_page_of_what_exists
def test_settings_and_tables_exist(page):
    sections = {name: field.annotation for name, field in Settings.model_fields.items()}
    settings = {f"{section}.{key}" for section, kind in sections.items() for key in getattr(kind, "model_fields", {})}
    schemas = {table.partition(".")[0] for table in TABLES}
    spans = [span.split(" = ")[0] for span in re.findall(r"`([^`\n]+)`", prose(page))]
    named = {span for span in spans if re.fullmatch(r"[a-z_]+\.[a-z_]+", span)}
    known = settings | {f"{section}.*" for section in sections} | set(TABLES)
    doubtful = {name for name in named if name.partition(".")[0] in sections | dict.fromkeys(schemas)}
    assert {name for name in doubtful - known if not name.endswith((".py", ".toml", ".json", ".csv"))} == set()


@pytest.mark.parametrize(("page", "names"), [("data-contract.md", list(FORMATS)), ("models.md", ENGINES)])
def test_every_choice_has_a_row_on_its_page(page, names):
    rows = re.findall(r"^\| `(\w+)`", INDEX.with_name(page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(names) <= set(rows)


def test_the_help_of_ingest_names_every_format():
    (argument,) = get_type_hints(ingest, include_extras=True)["data_format"].__metadata__
    assert set(re.findall(r"\w+", argument.help)) - {"or"} == set(FORMATS)


@pytest.mark.parametrize("package", ROOMS)
def test_readme_maps_every_room(package):
    rooms = {folder.parent.name for folder in (PROJECT / package).glob("*/__init__.py")}
    files = {file.name for file in (PROJECT / package).glob("*.py")} - {"__init__.py"}
    table = re.search(
        rf"^\| `{package}/` \|.*?\n\n", README.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    assert set(re.findall(r"^\| `(\w+)/` \|", table[0], flags=re.MULTILINE)) - {package} == rooms
    assert files <= set(re.findall(r"`(\w+\.py)`", table[0]))


def test_readme_maps_every_room_of_sql():
    rooms = {folder.name for folder in (PROJECT / "sql").iterdir() if folder.is_dir()}
    paragraph = re.search(r"^`sql/` .*?`tests/`", README.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"`(\w+)/`", paragraph[0])) == rooms | {"sql", "tests"}


def test_the_page_of_robustness_tells_something_of_every_kind():
    page = (PROJECT / "docs" / "robustness.md").read_text(encoding="utf-8")
    table = r"^### (.*?)\n\n\| input \| what comes out \|\n\|---\|---\|\n((?:\|.*\n)*)"
    parts = dict(re.findall(table, page, re.MULTILINE))
    assert [*parts] == [heading for kinds in KINDS.values() for heading in kinds.values()]
    assert all(parts.values())
