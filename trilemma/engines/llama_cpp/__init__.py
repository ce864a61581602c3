"""The llama.cpp engine, through llama-cpp-python."""
