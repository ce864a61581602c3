"""Pareto fronts, uncertainty and aggregation over repeats."""
