"""Tests of the calibration room."""
