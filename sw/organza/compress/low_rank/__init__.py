"""Low rank: a layer as two or more smaller ones in a row."""
