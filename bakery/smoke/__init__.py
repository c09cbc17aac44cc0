"""Tests of the finished image, on a fresh machine."""
