"""One run, and the life of one build; `bake.py` is the page that tells the story."""
