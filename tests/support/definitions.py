"""The definitions of design.md, section 4, read slowly in plain Python over a list of events and impressions.

Nothing here knows of days, tables or queries: only moments, in the order of time.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import md5


@dataclass(frozen=True)
class Event:
    user: str
    item: str
    ts: datetime
    positive: bool


@dataclass(frozen=True)
class Impression:
    """``history`` and ``cluster`` are as they were logged, under ``taxonomy``; None where they were not."""

    user: str
    item: str
    ts: datetime
    positive: bool
    final: bool
    policy: str
    taxonomy: str | None
    history: tuple[int, ...] | None
    cluster: int | None


class Reference:
    """What the definitions say of a log under one taxonomy.

    Args:
        events: of all users, in any order.
        impressions: likewise.
        clusters: the cluster of each item.
        taxonomy: its version.
        k: length of a history.
        explored: how long after an exploration impression a first interaction counts as caused by it.
    """

    def __init__(self, events, impressions, clusters, taxonomy, k=2, explored=timedelta(hours=24)):
        self.events, self.impressions = events, impressions
        self.clusters, self.taxonomy, self.k, self.explored = clusters, taxonomy, k, explored

    def history(self, user, moment):
        """S: the K clusters of the latest positive events strictly before a moment, ties to the lower id, sorted."""
        latest = {}
        for event in self.events:
            if event.user == user and event.positive and event.ts < moment:
                cluster = self.clusters[event.item]
                latest[cluster] = max(latest.get(cluster, event.ts), event.ts)
        ranked = sorted(latest, key=lambda cluster: (-latest[cluster].timestamp(), cluster))
        return tuple(sorted(ranked[: self.k])) if len(ranked) >= self.k else None

    def novel(self, user, cluster, moment):
        """Whether the user had no interaction of any sign with the cluster before."""
        return not any(
            event.user == user and self.clusters[event.item] == cluster and event.ts < moment for event in self.events
        )

    def first_interactions(self):
        """(user, cluster, history, item, moment, positive, explored) of each that has a history."""
        firsts = {}
        for event in sorted(self.events, key=lambda event: (event.ts, event.item)):
            firsts.setdefault((event.user, self.clusters[event.item]), event)
        found = set()
        for (user, cluster), event in firsts.items():
            history = self.history(user, event.ts)
            if history:
                caused = any(
                    shown.user == user
                    and self.clusters[shown.item] == cluster
                    and event.ts - self.explored < shown.ts <= event.ts
                    for shown in self.impressions
                )
                found.add((user, cluster, history, event.item, event.ts, event.positive, caused))
        return found

    def novel_transitions(self):
        """(user, cluster, history, moment): first interactions that were positive and that no exploration led to."""
        return {
            (u, c, s, ts) for u, c, s, _, ts, positive, caused in self.first_interactions() if positive and not caused
        }

    def exposures(self, source, replay_share=0.5):
        """(moment, user, history, cluster, novel, positive, policy) of each impression that counts as feedback."""
        if source == "replay":
            replayed = [row for row in self.first_interactions() if user_place(row[0]) < replay_share]
            return [
                (ts, user, history, cluster, True, positive, "replay")
                for user, cluster, history, _, ts, positive, _ in replayed
            ]
        found = []
        for shown in self.impressions:
            if not shown.final or (source == "random" and shown.policy != "random"):
                continue
            history, cluster = self._exposed(shown)
            if history and cluster is not None and cluster not in history:
                novel = self.novel(shown.user, cluster, shown.ts)
                found.append((shown.ts, shown.user, history, cluster, novel, shown.positive, shown.policy))
        return found

    def _exposed(self, shown):
        """S and the cluster served: as logged where they name this taxonomy and clusters that exist, else derived."""
        known = set(self.clusters.values())
        if (
            shown.taxonomy == self.taxonomy
            and shown.history is not None
            and len(shown.history) == self.k
            and {*shown.history, shown.cluster} <= known
        ):
            return shown.history, shown.cluster
        return self.history(shown.user, shown.ts), self.clusters.get(shown.item)

    def cells(self, source, since, until, only_novel=True):
        """By (S, C) the impressions, users and positives of the moments in [since, until)."""
        cells = defaultdict(list)
        for ts, user, history, cluster, novel, positive, _ in self.exposures(source):
            if since <= ts < until and (novel or not only_novel):
                cells[history, cluster].append((user, positive))
        return {
            cell: (len(rows), len({user for user, _ in rows}), sum(positive for _, positive in rows))
            for cell, rows in cells.items()
        }


def user_place(user):
    """Where a user stands among all, in [0, 1): the first of them are replayed."""
    return int(md5(user.encode()).hexdigest()[:8], 16) / 2**32
