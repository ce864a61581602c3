"""The queue, the worker and the executors."""
