"""The vocabulary of all layers: names, numbers and rules of the standards. Data only."""
