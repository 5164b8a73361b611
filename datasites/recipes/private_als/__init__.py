"""Private ALS: `code/main.py` runs at merchants, `recipe.py` plans and merges."""
