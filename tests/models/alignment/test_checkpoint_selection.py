"""Which evaluation makes the best checkpoint."""

from models.alignment.checkpoint_selection import ValidationPoint, merit


def test_the_better_point():
    def point(step, loss, f1, ndcg):
        return ValidationPoint(step, None, loss, f1, ndcg)

    assert merit(point(1, 9.0, 0.6, 0.1)) > merit(point(2, 0.1, 0.5, 0.9))
    assert merit(point(1, 9.0, 0.5, 0.9)) > merit(point(2, 0.1, 0.5, 0.8))
    assert merit(point(1, 0.3, None, None)) > merit(point(2, 0.4, None, None))
    assert merit(point(2, None, None, None)) > merit(point(1, None, None, None))
