"""From impressions to scores: transition scores, priors, normalisation, affinity, drift."""
