"""Typical options: models have no defaults where settings have some. Tests replace what they are about."""

from models.alignment.options import AlignmentOptions
from models.feedback.transition_scores import ScoreOptions
from models.novelty.options import NoveltyOptions

ALIGNMENT = AlignmentOptions(
    loss="pointwise",
    layers=None,
    tune="top:10",
    learning_rate=1e-4,
    epochs=3.0,
    histories_per_batch=8,
    histories_per_pass=8,
    looks_per_epoch=4,
    head_histories=256,
    stack=False,
    label_vectors=False,
    keep_overtrained=False,
    seed=0,
)
NOVELTY = NoveltyOptions(head="words", tune="top:8", learning_rate=1e-3, batch_size=64, epochs=2, most_steps=1, seed=0)
SCORES = ScoreOptions(
    minimum_impressions=5,
    minimum_share_of_mean=0.2,
    minimum_users=3,
    prior="cluster",
    normalisation="quantile",
    interval=0.05,
)
