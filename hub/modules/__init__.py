"""From a folder of data to a network: spec, architectures, weights, preprocessing, golden values."""

import warnings

# paddle says the one on every machine without a compiler cache, which it does not need, and the other at every
# training step of every BatchNorm: nothing in either that a user could do.
warnings.filterwarnings("ignore", message="No ccache found")
warnings.filterwarnings("ignore", message="When training, we now always track global mean and variance")
