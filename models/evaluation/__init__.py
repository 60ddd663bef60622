"""Metrics, calibration, yardsticks and contests, which judge models and know none of them."""
