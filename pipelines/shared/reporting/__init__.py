"""The leaderboard and the report page: everything from scores, layers and histories; nothing is computed by a model."""
