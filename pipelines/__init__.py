"""Stages: one module per DVC stage, wiring plug-ins to Beam, torch and files."""
