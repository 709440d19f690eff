"""Throughput, memory and scale: ratios against named peers, measured in the same run."""
