"""Pure functions from predictions and labels to scalar terms, and their one weighted sum."""
