"""Tools run by ./run that need the test dependencies."""
