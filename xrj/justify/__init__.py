"""After training, without a Trainer: diagnosis, caption, mapping M, the justification."""
