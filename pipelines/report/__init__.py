"""The report of a build: its figures, and one page that shows them with a sample of its rows."""
