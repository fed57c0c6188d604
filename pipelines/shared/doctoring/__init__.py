"""What `vignette doctor` looks for: traps of DVC, torch and Beam pipelines, each with a stable code."""
