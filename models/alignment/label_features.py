"""What the vectors of labels say of a candidate, without a language model that reads history and candidate together.

    x(S, C) = [e(C), e(C) * sum over c in S of e(c)],  e being the vector of a label

A head on x is linear in the members of S. So it folds, exactly, into one bias for each cluster and one affinity for
each pair of clusters: whatever it was fitted to, it scores any candidate by a look-up, clusters that were never served
included.
"""

import numpy as np
from scipy.sparse import csr_matrix

from models.arrays import Float64Array, IntArray
from models.feedback.affinity import AdditiveAffinity


def label_features(vectors: Float64Array, members: csr_matrix, clusters: IntArray) -> Float64Array:
    """[rows, 2 dimensions] x of each row.

    Args:
        vectors: [N, dimensions] of the labels.
        members: [rows, N] 1 for each member of the row's history.
        clusters: [rows] the candidate.
    """
    candidates = vectors[clusters]
    return np.concatenate([candidates, candidates * (members @ vectors)], axis=1)


def folded(vectors: Float64Array, head: Float64Array, constant: float = 0.0) -> AdditiveAffinity:
    """Biases and affinities that score as the head [2 dimensions] and a constant do."""
    of_candidate, of_both = np.split(head, 2)
    return AdditiveAffinity(vectors @ of_candidate + constant, (vectors * of_both) @ vectors.T)
