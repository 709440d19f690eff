"""Fine-tune pretrained language models to predict clicks and purchases, and compare the ways of doing it."""
