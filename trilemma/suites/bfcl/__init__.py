"""Suites of the Berkeley Function Calling Leaderboard (Patil et al. 2025): tools called once, and over many turns."""
