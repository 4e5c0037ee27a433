"""Random measures and problems with exact answers, shared by all tests."""
