"""Fine-tuning: one loop (`trainer`), what it is given (`config`, `batches`), how it starts (`ridge`) and what
watches it (`callbacks`)."""
