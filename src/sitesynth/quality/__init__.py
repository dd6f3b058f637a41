"""How good a generator's scans are: near to real ones, and as different from each other."""
