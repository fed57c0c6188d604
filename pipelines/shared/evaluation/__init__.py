"""Scoring one model: the held-out samples, the evidence that metrics are computed from, and what a reader is shown."""
