"""Tests of the Python module raptors."""
