"""How the nets learn: one LightningModule a stage."""
