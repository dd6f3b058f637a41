"""The stages of the study, one file each: read, call, write."""
