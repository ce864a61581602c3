"""The llama.cpp engine, through llama-cpp-python, which nothing here imports before a model is loaded."""

from trilemma.engines.llama_cpp.engine import LlamaCpp
from trilemma.engines.llama_cpp.settings import LlamaCppSettings

__all__ = ["LlamaCpp", "LlamaCppSettings"]
