"""Photographs and what is derived from them: pairs for super-resolution, sets for quality assessment."""
