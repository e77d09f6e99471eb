"""Lightning callbacks: checkpoints and export, seeds, pictures, progress."""
