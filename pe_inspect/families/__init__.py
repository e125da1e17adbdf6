"""The families room."""
