"""A trained model as one file to take along."""
