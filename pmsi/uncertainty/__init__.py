"""What a model knows of its own limits: calibrated probabilities, and scores that tell unknown images."""
