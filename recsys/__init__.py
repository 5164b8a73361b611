"""Private recommenders: data, models, privacy, federation, evaluation.

Knows nothing of PySyft and nothing of screens.
"""
