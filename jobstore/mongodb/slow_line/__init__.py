"""Keeps commands small enough for a slow line to carry within their time limit."""
