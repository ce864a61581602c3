"""Where weights come from: local files, the hub, installed packages; quantization ladders, conversions."""
