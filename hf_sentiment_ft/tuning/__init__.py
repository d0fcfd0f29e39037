"""Search for better flags of training, and compare base models; what needs Optuna is imported only for a search."""
