"""The novelty model: examples, training, and the distribution that it gives to labels."""
