"""From files to batches: reports, labels, captions, vocabulary, views, splits, images."""
