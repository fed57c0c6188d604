"""What several metrics share: evidence names, estimates with intervals, feature detectors."""
