"""What a generator tells about the patients it was trained on, and whether it may leave."""
