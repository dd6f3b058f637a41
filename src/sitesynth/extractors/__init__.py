"""Networks whose features are measured beside the default ones, from weights in a local file."""
