"""Counts of each tenant's calls and jobs: counted in every call, shown as numbers and in words."""
