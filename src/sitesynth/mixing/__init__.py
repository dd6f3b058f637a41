"""Tuning the mix: how many synthetic scans of each site and class the hub should learn from."""
