"""Training losses: the DISTS metric family and the adversarial loss."""
