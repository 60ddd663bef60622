"""A simulated platform whose truth is known: topics, items, users, an organic feed and the traffic that follows.

The pipeline sees only its landing files. The truth (tastes, probabilities) stays here, for evaluation.
"""
