"""Benchmarks, as ratios against named baselines that are measured in the same run, interleaved with what is measured."""
