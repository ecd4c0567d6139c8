"""The card of a dataset: what it is and how it was made, written from its build."""
