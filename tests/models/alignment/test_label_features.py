"""What label vectors say: by hand, and folded into biases and affinities."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from models.alignment.label_features import folded, label_features


def test_features_by_hand():
    vectors = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
    members = csr_matrix(np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0]]))
    found = label_features(vectors, members, np.array([2, 0]))
    np.testing.assert_array_equal(found, [[3.0, 1.0, 3.0, 2.0], [1.0, 0.0, 0.0, 0.0]])


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.floats(-3, 3))
def test_biases_and_affinities_score_as_the_head_does(seed, length, constant):
    generator = np.random.default_rng(seed)
    vectors, head = generator.normal(size=(9, 5)), generator.normal(size=10)
    histories = [sorted(generator.choice(9, length, replace=False).tolist()) for _ in range(6)]
    clusters = generator.integers(0, 9, 6)
    members = np.zeros((6, 9))
    for row, history in enumerate(histories):
        members[row, history] = 1.0
    expected = label_features(vectors, csr_matrix(members), clusters) @ head + constant
    found = folded(vectors, head, constant).scores(histories, [[cluster] for cluster in clusters.tolist()])
    np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-12)
    np.testing.assert_allclose(folded(vectors, head).bias + constant, folded(vectors, head, constant).bias, atol=1e-12)
