"""Which histories and clusters are kept from training: by stable hashes, so that other histories do not matter."""

import hashlib
from collections.abc import Sequence


def unseen_clusters(clusters: Sequence[int], share: float, seed: int) -> list[int]:
    """The clusters kept from training: ``share`` of them, rounded, by a stable hash of the seed and the id."""
    ordered = sorted(clusters, key=lambda cluster: hashlib.blake2b(f"{seed}:{cluster}".encode()).digest())
    return sorted(ordered[: round(share * len(clusters))])


def split_histories(
    histories: Sequence[Sequence[int]], validation_share: float, test_share: float, seed: int
) -> list[str]:
    """Assign each history, as a set, to ``train``, ``validation`` or ``test``.

    The choice is a stable hash of the seed and the cluster ids: it does not change when other histories come or go.
    Validation selects the checkpoint and test reports it, because a figure that was maximised is not an estimate.

    Raises:
        ValueError: when the shares leave nothing to train on.
    """
    if min(validation_share, test_share) < 0.0 or validation_share + test_share >= 1.0:
        raise ValueError(f"shares of {validation_share} and {test_share} leave no history to train on")

    def split(history: Sequence[int]) -> str:
        text = f"{seed}:{','.join(map(str, sorted(history)))}"
        place = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) / 2**64
        if place < test_share:
            return "test"
        return "validation" if place < test_share + validation_share else "train"

    return [split(history) for history in histories]
