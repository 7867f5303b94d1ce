"""Looking into trained models: which steps counted."""
