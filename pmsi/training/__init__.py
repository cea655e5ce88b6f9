"""Training: Algorithm 1 is `pmsi.training.loop`; what stands around it has a file each."""
