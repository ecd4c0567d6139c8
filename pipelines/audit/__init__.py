"""A person's own scores of a build's rows: what is shown, and how it is read back."""
