"""The classifier that every strategy trains: one network, one way to train it."""
