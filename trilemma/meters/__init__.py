"""Memory, energy and host steadiness, and the one sampler that reads them all."""
