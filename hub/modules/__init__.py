"""From a folder of data to a network: spec, architectures, weights, preprocessing, golden values."""
