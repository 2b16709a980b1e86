"""Names, numbers and rules of the standards, and plain data: the vocabulary of all layers."""
