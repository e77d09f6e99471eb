"""What a finished chain is worth, measured on the test split."""
