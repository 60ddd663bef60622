import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.language.label_trie import ROOT, label_trie, separate_branches

sequences = st.lists(st.integers(0, 3), min_size=1, max_size=5).map(tuple)
distinct_sequences = st.lists(sequences, min_size=1, max_size=12, unique=True)


def read_path(tree, node):
    """The tokens from the root to a node, by following parents: independent of depths, ancestry and paths."""
    tokens = []
    while node != ROOT:
        tokens.append(int(tree.tokens[node]))
        node = tree.parents[node]
    return tuple(reversed(tokens))


def test_a_trie_by_hand():
    trie = label_trie([[5, 6], [5], [5, 6, 7], [8]])
    assert trie.tokens.tolist() == [5, 6, 7, 8]
    assert trie.parents.tolist() == [ROOT, 0, 1, ROOT]
    assert trie.depths.tolist() == [0, 1, 2, 0]
    assert trie.ends.tolist() == [1, 0, 2, 3]
    assert [path.tolist() for path in trie.paths] == [[0, 1], [0], [0, 1, 2], [3]]
    assert trie.ancestry.astype(int).tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 1]]


@given(distinct_sequences)
def test_a_trie_holds_every_label_and_every_common_beginning_once(labels):
    trie = label_trie(labels)
    assert [read_path(trie, end) for end in trie.ends] == labels
    beginnings = {label[:length] for label in labels for length in range(1, len(label) + 1)}
    assert sorted(read_path(trie, node) for node in range(trie.nodes)) == sorted(beginnings)


@given(st.lists(sequences, min_size=1, max_size=8))
def test_separate_branches_share_nothing(labels):
    tree = separate_branches(labels)
    assert tree.nodes == sum(map(len, labels))
    assert [read_path(tree, end) for end in tree.ends] == labels


@given(distinct_sequences, st.booleans())
def test_depths_ancestry_and_paths_agree_with_the_parents(labels, shared):
    tree = label_trie(labels) if shared else separate_branches(labels)
    assert (tree.parents < np.arange(tree.nodes)).all()
    for node in range(tree.nodes):
        assert tree.depths[node] == len(read_path(tree, node)) - 1
        assert np.flatnonzero(tree.ancestry[node])[-1] == node
        assert tuple(tree.tokens[tree.ancestry[node]]) == read_path(tree, node)
    for label, path in zip(labels, tree.paths, strict=True):
        assert tuple(tree.tokens[path]) == label


@pytest.mark.parametrize("build", [label_trie, separate_branches])
@pytest.mark.parametrize("labels", [[], [[1], []]])
def test_empty_sequences_are_refused(build, labels):
    with pytest.raises(ValueError, match="at least one sequence, and no empty ones"):
        build(labels)


def test_a_trie_refuses_equal_labels_and_branches_do_not():
    with pytest.raises(ValueError, match="are the same"):
        label_trie([[1, 2], [1, 2]])
    assert separate_branches([[1, 2], [1, 2]]).nodes == 4
