"""Benchmarks, as ratios to named baselines. Each baseline is measured in the same run, in turns with the product."""
