"""Turns a grid of questions into a graph of content-addressed trials, runs it on Ray Tune, tabulates the records."""
