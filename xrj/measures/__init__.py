"""Pure measures: arrays, tensors or words in, numbers out."""
