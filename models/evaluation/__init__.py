"""Metrics, calibration, yardsticks and contests: they judge predictions and import no model."""
