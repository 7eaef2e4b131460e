"""How good a detector or a generator is: rates, distances, networks that judge, embeddings."""
