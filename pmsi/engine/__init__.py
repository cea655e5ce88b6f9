"""How a network is computed: device and precision, checkpoints, folded copies, costs."""
