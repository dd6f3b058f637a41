"""What a reader gets to see: one page with every result of a study."""
