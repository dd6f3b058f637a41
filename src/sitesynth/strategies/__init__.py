"""The ways to learn one classifier from several sites."""
