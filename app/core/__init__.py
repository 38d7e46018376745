"""The app's vocabulary: plain frozen data that both processes share. Standard library only."""
