"""Tests that any Singer target for a lake can inherit; see `conformance`."""
