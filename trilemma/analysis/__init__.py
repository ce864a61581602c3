"""What can be said of measured figures: points, intervals, the Pareto front, distributions, words. No I/O."""
