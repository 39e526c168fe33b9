"""The robustness benchmark: scores under sensor corruptions."""
