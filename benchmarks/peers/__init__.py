"""What others run: the same weights, rows, loss and LoRA, by other libraries or by hand."""
