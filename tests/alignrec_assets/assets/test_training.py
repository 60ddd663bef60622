"""Training sets: the settings that decide how counted cells become examples."""

from alignrec_assets.assets.training import pointwise_options
from alignrec_assets.settings.schema import Settings
from models.alignment.pointwise_examples import PointwiseOptions


def test_examples_are_made_by_the_settings():
    alignment = {"holdout_share": 0.4, "report_share": 0.75, "unseen_cluster_share": 0.2, "seed": 9}
    feedback = {"prior": "cluster", "normalisation": "lift", "interval": "auto"}
    settings = Settings.model_validate({"alignment": alignment, "feedback": feedback})
    assert pointwise_options(settings) == PointwiseOptions(
        holdout_share=0.4,
        report_share=0.75,
        unseen_cluster_share=0.2,
        prior="cluster",
        normalisation="lift",
        interval=None,
        seed=9,
    )
