"""The compression front-end: a trained generator becomes a chain of layers that stages prune, factorise, code and fine-tune."""
