"""Brings a data set into a home: landing files, and the settings that depend on the data, each with its reason."""

from collections.abc import Collection
from dataclasses import asdict
from datetime import date
from pathlib import Path

from alignrec_assets.assets.raw import attribution_window, landing_zone, positive_rule
from alignrec_assets.commands.chosen_calendar import CalendarError, Span, told_calendar, told_partition
from alignrec_assets.commands.chosen_settings import choose_positive, choose_settings, require_teaching
from alignrec_assets.commands.log_facts import LogFacts, SurveyedLog, surveyed_log
from alignrec_assets.home import Home
from alignrec_assets.landing.formats.converters import convert
from alignrec_assets.landing.loading import PositiveRule
from alignrec_assets.settings.chosen_values import Chosen, fixed_settings, write_chosen
from alignrec_assets.settings.sources import load_settings, settings_in_file
from models.progress import Log


def ingest_source(home: Home, data_format: str, path: Path, tag_names: Path | None, write: Log) -> None:
    """Convert a data set, and choose the settings that depend on what the landing files of the home now hold.

    A setting that was set by hand stays. One that an earlier ingest chose is chosen again.

    Raises:
        ValueError: an unknown format, a data set that is not of that format, a handful of rows that would set the
            calendar, too few items, or events that teach nothing; the message names the file or the figure, and what
            to do.
    """
    home.create()
    landing = load_settings(home).landing
    ingested = convert(data_format, path, home.landing, landing, tag_names=tag_names, log=write)
    rows = ", ".join(f"{count:,} {kind}" for kind, count in ingested.rows.items())
    write(f"{rows} from {ingested.first_day} to {ingested.last_day} in {home.landing}")
    for note in ingested.notes:
        write(note)
    write("reading the landing files, to choose the settings that depend on them")
    with surveyed_log(home, landing.missing_values, write) as log:
        _settle_calendar(home, log.rows_by_day(), write)
        facts = _settle_positive(home, log, ingested.positive, write)
    settings = load_settings(home)
    _settle(home, choose_settings(facts, settings, fixed_settings(home)), write)
    require_teaching(facts, settings.history.clusters)


def _settle(home: Home, chosen: list[Chosen], write: Log) -> None:
    write_chosen(home, chosen)
    for each in chosen:
        write(f"  {each.name} = {each.value}: {each.reason}")


def _settle_calendar(home: Home, rows: dict[date, int], write: Log) -> None:
    """Write the days of the log and how they are made at once, unless the home names them; tell what lies outside."""
    fixed, calendar = fixed_settings(home), load_settings(home).calendar
    stays_open = "first_day" in settings_in_file(home).get("calendar", {}) and calendar.last_day is None
    within = {
        day: count
        for day, count in rows.items()
        if not ("calendar.first_day" in fixed and day < calendar.first_day)
        and not ("calendar.last_day" in fixed and calendar.last_day and day > calendar.last_day)
    }
    outside = sum(rows.values()) - sum(within.values())
    if outside:
        write(
            f"{outside:,} of {sum(rows.values()):,} rows lie outside the calendar that {home.settings} names: not read"
        )
    if within:
        span = _told_calendar(home, within, fixed)
        kept = fixed | ({"calendar.last_day"} if stays_open else set())
        days = {"calendar.first_day": (span.first, "first day"), "calendar.last_day": (span.last, "last day")}
        chosen = [Chosen(name, day, f"the {word} with a row") for name, (day, word) in days.items()]
        chosen.append(Chosen("calendar.partition", *told_partition(sum(within.values()), span.days)))
        _settle(home, [each for each in chosen if each.name not in kept], write)
    if stays_open:
        write("the calendar has no last_day: the log is open, and its days run up to yesterday")


def _told_calendar(home: Home, rows: dict[date, int], fixed: Collection[str]) -> Span:
    if {"calendar.first_day", "calendar.last_day"} <= set(fixed):
        return Span(min(rows), max(rows))
    try:
        return told_calendar(rows)
    except CalendarError as error:
        raise CalendarError(f"{error} as first_day and last_day under [calendar] in {home.settings}") from None


def _settle_positive(home: Home, log: SurveyedLog, positive: PositiveRule | None, write: Log) -> LogFacts:
    """Write the rule for positive events that suits the data, unless the home has one; returns the facts by it."""
    own_rule = any(name.startswith("positive.") for name in fixed_settings(home))
    if positive is not None and not own_rule:
        _settle(home, _as_settings(positive, "what pleased, by this format"), write)
    facts = _facts(home, log)
    found = None if own_rule or positive is not None else choose_positive(facts)
    if found is None:
        return facts
    _settle(home, _as_settings(*found), write)
    return _facts(home, log)


def _facts(home: Home, log: SurveyedLog) -> LogFacts:
    settings = load_settings(home)
    zone = landing_zone(home.landing, settings)
    return log.facts(zone, positive_rule(settings), attribution_window(settings))


def _as_settings(rule: PositiveRule, reason: str) -> list[Chosen]:
    return [Chosen(f"positive.{name}", value, reason) for name, value in asdict(rule).items() if value is not None]
