"""The settings that depend on the data: a rule for each, from plain facts of the log to a value and its reason.

A setting that the user, the environment or the profile has fixed is not chosen; the rules of the others go by it.
"""

from collections.abc import Callable, Collection
from itertools import count
from math import ceil, comb
from typing import Any

from alignrec_assets.commands.log_facts import LogFacts
from alignrec_assets.landing.loading import PositiveRule
from alignrec_assets.settings.chosen_values import Chosen
from alignrec_assets.settings.schema import Settings

CLUSTERS = (8, 12, 16, 20, 24, 32, 40, 48, 56, 64)
"""Coarse steps, so that a log that grows a little asks for no new taxonomy. Beyond 64 the novelty model has under 125
examples of each cluster, however long the log."""
CLUSTERS_TO_ALIGN = 12
"""66 histories: with 8 clusters there are 28, fewer than `alignment.minimum_histories` asks for."""
IMPRESSIONS_TO_ALIGN = 2000
"""Three for each cell of 12 clusters."""
ITEMS_PER_CLUSTER = 20
TRANSITIONS_PER_CLUSTER = 200
EXAMPLES_PER_CLUSTER = 125
MOST_EXAMPLES = 7900
WINDOW_DAYS = 28
IMPRESSIONS_PER_CELL = 5
MOST_IMPRESSIONS, MOST_USERS = 5, 3
LEAST_USERS = 2
LEAST_STEPS = 30
"""31 examples in 2 steps gave a format validity of 0.07, and in 30 steps 0.999."""
REPORTED_HISTORIES = 15
LARGEST_HOLDOUT = 0.5
POSITIVE_SHARE = 2 / 3
"""At most this share of the ratings is positive, where ratings differ."""
Choice = tuple[Any, str]


class ThinLogError(ValueError):
    """The log cannot teach anything; the message says how much there is and how much is needed."""


class CatalogueError(ValueError):
    """The catalogue bears fewer clusters than a plan needs; the message says how many there are and how many needed."""


def choose_settings(facts: LogFacts, settings: Settings, fixed: Collection[str]) -> list[Chosen]:
    """Choose every setting that depends on the data and is not fixed.

    Args:
        facts: what the landing files hold.
        settings: the settings of the home, of which the fixed ones count.
        fixed: names of settings that stay.

    Raises:
        CatalogueError: the items cannot form enough clusters.
    """
    chosen: list[Chosen] = []

    def decide(name: str, rule: Callable[[], Choice]) -> Any:
        section, _, key = name.partition(".")
        if name in fixed:
            return getattr(getattr(settings, section), key)
        value, reason = rule()
        chosen.append(Chosen(name, value, reason))
        return value

    history, replayed = settings.history.clusters, settings.feedback.replay_share
    source = decide("feedback.source", lambda: feedback_source(facts))
    taught = 1 - replayed if source == "replay" else 1.0
    least = history + settings.candidates.k
    shown = 0 if source == "replay" else facts.impressions if source == "logged" else facts.random_impressions
    exposures = settings.feedback.exposures
    if shown:
        exposures = decide("feedback.exposures", lambda: exposures_that_teach(facts, shown, history, least))
    novel = exposures == "novel"
    clusters = decide("interests.clusters", lambda: clusters_of(facts, history, taught, shown, least, novel=novel))
    shown = counted_impressions(facts, shown, clusters, novel=novel)
    if source == "replay":
        shown = round(replayed * met_clusters(facts, clusters, history))
    cells = possible_cells(clusters, history)
    window = decide("feedback.window_days", lambda: window_days(facts, source, shown, cells))
    seen = shown * min(1.0, window / facts.days)
    least_seen = decide("feedback.minimum_impressions", lambda: minimum_impressions(seen, cells))
    decide("feedback.minimum_users", lambda: minimum_users(least_seen))
    decide("alignment.holdout_share", lambda: holdout_share(settings, clusters, history))
    decide("novelty.refresh_days", lambda: (1, f"the model learns from all {facts.days:,} days that were ingested"))
    transitions = round(taught * novel_transitions(facts, clusters, history))
    most = decide("novelty.maximum_examples", lambda: maximum_examples(transitions, clusters))
    batch = settings.novelty.batch_size
    decide("novelty.epochs", lambda: epochs(min(most, transitions), batch))
    decide("novelty.most_steps", lambda: most_steps(most, batch))
    return chosen


def require_teaching(facts: LogFacts, history: int) -> None:
    """Refuse a log from which no novel transition can come, before anything is computed.

    Raises:
        ThinLogError: naming what is there and what is needed.
    """
    if not facts.positives:
        raise ThinLogError(
            f"none of {facts.events:,} events is positive by the rule under positive.*, and the novelty model learns "
            "from positive events: check the rule (`alignrec settings`), or land events that please"
        )
    met = sum(users for items, users in facts.users_by_items.items() if items > history)
    if met < LEAST_USERS:
        raise ThinLogError(
            f"{met:,} of {facts.users:,} users met {history + 1} items or more (history.clusters + 1), and "
            f"{LEAST_USERS} are needed: land events of more users or days"
        )


def feedback_source(facts: LogFacts) -> Choice:
    """Which impressions count, by what the files hold."""
    if facts.placed_impressions:
        named = f"{facts.placed_impressions:,} of {facts.impressions:,} impressions name the history they are for"
        return "logged", f"{named}, {facts.positive_impressions:,} are positive"
    if facts.random_impressions:
        shown = f"{facts.random_impressions:,} random exposures, {facts.positive_impressions:,} of them positive"
        return "random", f"{shown}, and no other impressions"
    return "replay", "no impressions, so first interactions stand in for them: no evidence of alignment"


def exposures_that_teach(facts: LogFacts, shown: int, history: int, least: int) -> Choice:
    """Whether the impressions of novel clusters suffice, or all count.

    In simulated worlds all of them ranked better while novel ones were few (docs/evaluation.md, which exposures teach).
    """
    fewest = fewest_clusters(shown, least)
    novel = counted_impressions(facts, shown, fewest, novel=True)
    cells = possible_cells(fewest, history)
    told = f"about {novel:,} of {shown:,} impressions are of novel clusters (estimated), for {cells:,} cells or more"
    return ("novel", told) if novel >= IMPRESSIONS_PER_CELL * cells else ("all", f"{told}: too few to go by them alone")


def counted_impressions(facts: LogFacts, shown: int, clusters: int, *, novel: bool) -> int:
    """About how many of the impressions count, if those of novel clusters alone do, or all.

    A user who met n items as if at random had not met a cluster with the chance (1 - 1/N)^n. Users return to what they
    like, so that more clusters are novel to them than that.
    """
    total = sum(facts.impressions_by_items_before.values())
    if not novel or not total:
        return shown
    unmet = sum(count * (1 - 1 / clusters) ** items for items, count in facts.impressions_by_items_before.items())
    return round(shown * unmet / total)


def fewest_clusters(shown: int, least: int) -> int:
    """The fewest clusters that are ever chosen."""
    return max(least, CLUSTERS_TO_ALIGN if shown >= IMPRESSIONS_TO_ALIGN else CLUSTERS[0])


def clusters_of(facts: LogFacts, history: int, taught: float, shown: int, least: int, *, novel: bool) -> Choice:
    """How many clusters catalogue and log bear.

    Raises:
        CatalogueError: fewer than ``least``.
    """
    if facts.distinct_texts < least:
        raise CatalogueError(
            f"the catalogue has {facts.items:,} items with {facts.distinct_texts:,} distinct texts, and {least} are "
            f"needed for {least} interest clusters (history.clusters + candidates.k): land more items, or items with "
            "richer titles, tags or descriptions"
        )
    fewest = fewest_clusters(shown, least)
    borne = {
        f"{facts.distinct_texts:,} items with texts of their own, {ITEMS_PER_CLUSTER} for each": _most_clusters(
            fewest, lambda clusters: facts.distinct_texts >= ITEMS_PER_CLUSTER * clusters
        ),
        f"{facts.events:,} events, {TRANSITIONS_PER_CLUSTER} novel transitions for each (estimated)": _most_clusters(
            fewest,
            lambda clusters: taught * novel_transitions(facts, clusters, history) >= TRANSITIONS_PER_CLUSTER * clusters,
        ),
    }
    if shown:
        counted = "impressions of novel clusters (estimated)" if novel else "impressions"
        borne[f"{shown:,} impressions, {IMPRESSIONS_PER_CELL} {counted} for each cell"] = _most_clusters(
            fewest,
            lambda clusters: (
                counted_impressions(facts, shown, clusters, novel=novel)
                >= IMPRESSIONS_PER_CELL * possible_cells(clusters, history)
            ),
        )
    bound, clusters = min(borne.items(), key=lambda each: each[1])
    told = f"as many as data bear: {bound}"
    if clusters == fewest:
        told = f"at least {fewest}, though data hardly bear them: {bound}"
    if clusters == CLUSTERS[-1]:
        told = "data would bear more, but then the novelty model had too few examples of each"
    return min(clusters, facts.distinct_texts), told


def _most_clusters(fewest: int, bears: Callable[[int], bool]) -> int:
    """The largest number of clusters that is borne; ``fewest`` where none is."""
    return max((clusters for clusters in CLUSTERS if clusters >= fewest and bears(clusters)), default=fewest)


def met_clusters(facts: LogFacts, clusters: int, history: int) -> float:
    """About how many first interactions with a cluster follow a whole history.

    A user who met n items as if at random met N(1 - (1 - 1/N)^n) of N clusters. A history of K positive clusters takes
    K / p of these, where p is the positive share of the events.
    """
    share = max(facts.positives / max(facts.events, 1), 1 / clusters)
    return sum(
        users * max(0.0, clusters * (1 - (1 - 1 / clusters) ** items) - history / share)
        for items, users in facts.users_by_items.items()
    )


def novel_transitions(facts: LogFacts, clusters: int, history: int) -> float:
    """About how many novel transitions the log holds: the first interactions that are positive."""
    return met_clusters(facts, clusters, history) * facts.positives / max(facts.events, 1)


def possible_cells(clusters: int, history: int) -> int:
    """How many histories with a served cluster there can be."""
    return possible_histories(clusters, history) * (clusters - history)


def possible_histories(clusters: int, history: int) -> int:
    """How many sets of K clusters there are."""
    return comb(clusters, history)


def window_days(facts: LogFacts, source: str, shown: int, cells: int) -> Choice:
    """How many days of feedback count: 28, or twice as many as often as they hold too little.

    In coarse steps: where a log that grows by a day had a longer window, the scores of every day would be made again.
    """
    if facts.days <= WINDOW_DAYS:
        return WINDOW_DAYS, f"all {facts.days:,} days of the log"
    wanted = ceil(IMPRESSIONS_PER_CELL * cells / max(shown / facts.days, 1e-9))
    needed = facts.days if source == "replay" else min(facts.days, wanted)
    days = next(days for days in (WINDOW_DAYS << doubled for doubled in count()) if days >= needed)
    if source == "replay":
        return days, f"all {facts.days:,} days: a user meets a cluster for the first time only once"
    told = f"{shown:,} impressions in {facts.days:,} days"
    if days < facts.days:
        return days, f"{told}: so many days hold {IMPRESSIONS_PER_CELL} for each of {cells:,} cells"
    return days, f"{told}: it takes all days for {cells:,} cells"


def minimum_impressions(seen: float, cells: int) -> Choice:
    """The bar for a cell: half the mean cell, so that a thin log keeps cells and a thick one drops noise."""
    mean = seen / cells
    least = min(MOST_IMPRESSIONS, max(1, int(mean / 2)))
    return least, f"about {seen:,.0f} impressions in the window, {mean:,.1f} for each of {cells:,} cells"


def minimum_users(impressions: int) -> Choice:
    """The bar for the users of a cell, never above that for its impressions."""
    return min(MOST_USERS, impressions), f"at most feedback.minimum_impressions, and {MOST_USERS} suffice"


def holdout_share(settings: Settings, clusters: int, history: int) -> Choice:
    """The share of held-out histories: larger where few histories would leave too few to report on."""
    usual, reported = 0.3, settings.alignment.report_share
    histories = possible_histories(clusters, history)
    needed = REPORTED_HISTORIES / reported / histories
    share = round(min(LARGEST_HOLDOUT, max(usual, needed)), 2)
    return share, f"{histories:,} histories at most, so {share * reported * histories:,.0f} of them are for the report"


def maximum_examples(transitions: int, clusters: int) -> Choice:
    """The most examples: the default, more where there are many clusters to learn."""
    most = min(MOST_EXAMPLES, max(3400, EXAMPLES_PER_CLUSTER * clusters))
    return most, f"{most / clusters:,.0f} for each of {clusters} clusters; about {transitions:,} transitions are there"


def epochs(examples: int, batch: int) -> Choice:
    """As many passes as make enough optimiser steps to learn how labels are written, however few examples there are."""
    steps_of_pass = max(1, examples // batch)
    passes = max(2, ceil(LEAST_STEPS / steps_of_pass))
    return passes, f"about {examples:,} examples: {LEAST_STEPS} steps or more, in which labels are learned"


def most_steps(examples: int, batch: int) -> Choice:
    """As many optimiser steps as two passes over the most examples take."""
    steps = max(110, 2 * ceil(examples / batch))
    return steps, f"what 2 passes over {examples:,} examples take, so that few examples take no longer"


def choose_positive(facts: LogFacts) -> tuple[PositiveRule, str] | None:
    """A rule for logs in which none of the default signals makes an event positive; none where the default does."""
    if facts.positives or not facts.events:
        return None
    if facts.ratings:
        rule, reason = _by_rating(facts.ratings)
        return PositiveRule(
            watch_share=None, rating_at_least=rule, liked=True, completed=True, when_unknown=False
        ), reason
    if not facts.judged_events:
        reason = f"none of {facts.events:,} events says whether it pleased, so that each counts"
        return PositiveRule(
            watch_share=None, rating_at_least=None, liked=True, completed=True, when_unknown=True
        ), reason
    return None


def _by_rating(ratings: dict[float, int]) -> tuple[float, str]:
    total = sum(ratings.values())
    for rating in sorted(ratings):
        share = sum(count for value, count in ratings.items() if value >= rating) / total
        if share <= POSITIVE_SHARE:
            return rating, f"{share:.0%} of {total:,} ratings are as high, and nothing else tells what pleased"
    highest = max(ratings)
    share = ratings[highest] / total
    return highest, f"{share:.0%} of {total:,} ratings are the highest, so that ratings hardly tell what pleased"
