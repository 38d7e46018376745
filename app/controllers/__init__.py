"""State for the views: one QObject per job family, no widgets."""
