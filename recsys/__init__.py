"""Private recommenders: data, models, privacy, federation, evaluation. Knows no PySyft, no screens."""
