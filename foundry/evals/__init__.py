"""Benchmarks with known answers, and the measures they report."""
