"""What the console knows: frozen models, and every validation rule exactly once."""
